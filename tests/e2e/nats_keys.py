# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates as NATS has them, made for a test: NKeys, the JWTs of an operator, an
account and a user (what `nsc` makes), and a small certificate authority."""
import base64
import datetime
import hashlib
import ipaddress
import json
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xffff
    return crc


def base32(data):
    return base64.b32encode(data + crc16(data).to_bytes(2, "little")).decode().rstrip("=")


class NKey:
    def __init__(self, kind):
        self._key = ed25519.Ed25519PrivateKey.generate()
        raw = self._key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw,
                                      serialization.NoEncryption())
        public = self._key.public_key().public_bytes(serialization.Encoding.Raw,
                                                     serialization.PublicFormat.Raw)
        self.seed = base32(bytes([SEED | kind >> 5, (kind & 31) << 3]) + raw)
        self.public = base32(bytes([kind]) + public)

    def sign(self, data):
        return self._key.sign(data)


def url64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt(issuer, subject, name, nats, exp=None):
    claims = {"iat": int(time.time()), "iss": issuer.public, "name": name, "sub": subject.public,
              "nats": {**nats, "version": 2}, **({"exp": exp} if exp else {})}
    claims["jti"] = base64.b32encode(
        hashlib.new("sha512_256", json.dumps(claims).encode()).digest()).decode().rstrip("=")
    head = url64(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    body = f"{head}.{url64(json.dumps(claims).encode())}"
    return f"{body}.{url64(issuer.sign(body.encode()))}"


class Operator:
    """An operator with an account that may use JetStream, besides the one JetStream wants."""

    def __init__(self):
        self._operator, self.account, self._system = NKey(OPERATOR), NKey(ACCOUNT), NKey(ACCOUNT)
        self.jwt = jwt(self._operator, self._operator, "op", {"type": "operator"})
        limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                  "wildcards": True, "conn": -1, "leaf": -1, "mem_storage": -1,
                  "disk_storage": -1, "streams": -1, "consumer": -1}
        self.account_jwt = jwt(self._operator, self.account, "weir",
                               {"type": "account", "limits": limits})
        self._system_jwt = jwt(self._operator, self._system, "SYS", {"type": "account"})

    def server_config(self):
        return (f"operator: {self.jwt}\nresolver: MEMORY\nsystem_account: {self._system.public}\n"
                f"resolver_preload: {{ {self.account.public}: {self.account_jwt}\n"
                f"  {self._system.public}: {self._system_jwt} }}\n")

    def credentials(self, exp=None, account=None, seed=None):
        user = NKey(USER)
        text = jwt(account or self.account, user, "agent",
                   {"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1},
                   exp)
        return (f"-----BEGIN NATS USER JWT-----\n{text}\n------END NATS USER JWT------\n\n"
                "************************* IMPORTANT *************************\n"
                "NKEY Seed printed below can be used to sign and prove identity.\n\n"
                f"-----BEGIN USER NKEY SEED-----\n{seed or user.seed}\n"
                "------END USER NKEY SEED------\n")


class Authority:
    """A CA; what it makes is PEM, certificate and key."""

    def __init__(self, name):
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._cert = self._build(self._name, self._key, 3650, [
            (x509.BasicConstraints(ca=True, path_length=None), True)])
        self.pem = self._cert.public_bytes(serialization.Encoding.PEM).decode()

    def _build(self, subject, key, days, extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        build = (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
                 .public_key(key.public_key()).serial_number(x509.random_serial_number())
                 .not_valid_before(now - datetime.timedelta(days=30))
                 .not_valid_after(now + datetime.timedelta(days=days)))
        for extension, critical in extensions:
            build = build.add_extension(extension, critical)
        return build.sign(self._key, hashes.SHA256())

    def issue(self, name, *, days=30, hosts=(), addresses=()):
        key = ec.generate_private_key(ec.SECP256R1())
        san = [*(x509.DNSName(h) for h in hosts),
               *(x509.IPAddress(ipaddress.ip_address(a)) for a in addresses)]
        cert = self._build(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, days, [
                (x509.SubjectAlternativeName(san or [x509.DNSName(name)]), False),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH,
                                        ExtendedKeyUsageOID.CLIENT_AUTH]), False)])
        return (cert.public_bytes(serialization.Encoding.PEM).decode(),
                key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption()).decode())
