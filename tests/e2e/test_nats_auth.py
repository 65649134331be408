# SPDX-License-Identifier: Apache-2.0
"""Who may talk to NATS, and to which: each way that a nats-server knows, each way it fails, and
what is then said. Secrets are files, read at each connect: one that is put right, or changed,
holds without a restart."""
import json
import os
import signal
import time

import pytest
from nats_keys import USER, Authority, NKey, Operator
from weirlab import Lab, policy, wait_for
from weirlab.lab import stop

POLICY = policy.document({"paid": {"credit": "hard"}}, {"acme": ("paid", "sk-acme")})
HERE = "127.0.0.1:4222"
# As agent/nats.md has it.
NEEDS = """{ publish: ["meter.v1.>", "ledger.v1.>", "alert.v1.>", "deny.v1.>", "usage_refused.v1.>",
  "$JS.API.>", "$JS.ACK.>"], subscribe: ["_INBOX.>"] }"""


class Auth:
    """A nats-server whose config, and an agent whose secrets, change while they run."""

    def __init__(self, lab):
        self.lab, self.dir = lab, lab.dir
        self.grants = 0

    def file(self, name, text, mode=0o600):
        """Put in place as a whole; its path."""
        path = self.dir / name
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").chmod(mode)
        os.replace(path.with_suffix(".new"), path)
        return str(path)

    def path(self, name):
        return str(self.dir / name)

    def serve(self, config):
        """Start nats-server with this, or make the one that runs take it."""
        text = (f"listen: {HERE}\njetstream {{ store_dir: {self.dir}/nats }}\n"
                f"logtime: false\n{config}\n")
        path = self.file("nats.conf", text)
        if self.lab.nats and self.lab.nats.poll() is None:
            log = self.lab.log("nats")
            size = log.stat().st_size
            self.lab.nats.send_signal(signal.SIGHUP)
            wait_for(lambda: b"Reloaded server" in log.read_bytes()[size:], "nats-server's reload")
            return
        self.lab.nats = self.lab.spawn(["nats-server", "-c", path], "server", "nats")
        self.lab.await_listening(self.lab.nats, 4222, "nats-server", "nats")

    def unserve(self):
        stop(self.lab.nats)

    def agent(self, **nats):
        self.lab.start_agent(POLICY, nats={"usage_subject": "usage.v1.>", **nats})

    def warnings(self):
        return "\n".join(self.lab.ctl("status")["warnings"])

    def told(self, *words):
        """All of them, by the publisher and by who takes reported usage."""
        def both():
            found = [w for w in self.lab.ctl("status")["warnings"] if all(x in w for x in words)]
            return len(found) >= 2
        try:
            wait_for(both, f"{words} in a warning", 20)
        except Exception:
            print(self.warnings())
            raise

    def works(self):
        """An event is published, and usage taken from its queue."""
        self.lab.ctl("credit", "grant", "acme", "1", "--id", f"g{self.grants}")
        self.grants += 1
        try:
            wait_for(self.settled, "NATS to be used", 20)
        except Exception:
            print(self.warnings())
            raise

    def settled(self):
        nats = self.lab.ctl("status")["nats"]
        return nats["connected"] and not nats["backlog"] and nats["usage"]["ready"]

    def end(self, *secrets):
        """The agent, and nobody has heard of these."""
        status = json.dumps(self.lab.ctl("status"))
        self.lab.kill_agent()
        log = self.lab.log("agent").read_text()
        for secret in secrets:
            assert secret not in log and secret not in status


@pytest.fixture(scope="module")
def module_lab():
    with Lab() as made:
        yield made
    assert made.leftovers() == []


@pytest.fixture
def auth(module_lab, request):
    made = Auth(module_lab)
    size = module_lab.log("agent").stat().st_size if module_lab.log("agent").exists() else 0
    yield made
    if module_lab.agent and module_lab.agent.poll() is None:
        module_lab.kill_agent()
    made.unserve()
    report = getattr(request.node, "report_call", None)
    if report and report.failed and module_lab.log("agent").exists():
        print("--- agent log\n" + module_lab.log("agent").read_text()[size:][-4000:])
    # Others begin with empty streams.
    module_lab.in_server("rm", "-rf", module_lab.dir / "nats", module_lab.dir / "state")


def users(password):
    return f'authorization {{ user: weir, password: {json.dumps(password, ensure_ascii=False)} }}'


def test_user_and_password_and_their_change(auth):
    first, second = 'quote" back\\slash wörd', "another-one"
    auth.serve(users(first))
    path = auth.path("password")
    auth.agent(user="weir", password_file=path)
    auth.told(f"nats.password_file: {path}: No such file or directory")
    auth.file("password", "two\nlines\n")
    auth.told(f"nats.password_file: {path}: is not one line")
    auth.file("password", "wrong-one\n", mode=0o644)
    auth.told(f'{HERE} refuses user "weir" with the password of {path}: Authorization Violation')
    auth.file("password", first + "\n")
    auth.works()
    auth.serve(users(second))  # who is in by the old one is sent away
    auth.told(f'{HERE} refuses user "weir"')
    auth.file("password", second)
    auth.works()
    log = auth.lab.log("agent").read_text()
    assert log.count(f"{path} can be read by everybody (mode 0644): chmod o-r") == 1
    auth.end(first, second, "wrong-one", "quote")


def test_without_being_told_who_it_is(auth):
    auth.serve(users("x"))
    auth.agent()
    auth.told(f"{HERE} wants to know who comes", "user, token_file, credentials, nkey")
    auth.end()


def test_a_password_in_the_url_is_shown_to_nobody(auth):
    auth.serve(users("hush-hush"))
    auth.agent(url=f"nats://weir:hush-hush@{HERE}")
    auth.works()
    auth.serve(users("changed"))
    auth.told(f"{HERE} refuses whom nats.url names")
    auth.end("hush-hush")


def test_a_token_and_several_servers(auth):
    auth.serve("authorization { token: tok-1 }")
    path = auth.file("token", "tok-2")
    auth.agent(url=["nats://127.0.0.1:4299", f"nats://{HERE}"], token_file=path)
    auth.told("127.0.0.1:4299: nobody accepts a connection there; ",
              f"{HERE} refuses the token of {path}")
    auth.file("token", "tok-1")
    auth.works()
    auth.unserve()
    auth.told("127.0.0.1:4299: nobody", f"{HERE}: nobody")
    auth.serve("authorization { token: tok-1 }")
    auth.works()
    auth.end("tok-1", "tok-2")


def test_an_nkey(auth):
    mine, other = NKey(USER), NKey(USER)
    auth.serve(f"authorization {{ users: [ {{ nkey: {mine.public}, permissions: {NEEDS} }} ] }}")
    path = auth.file("seed", mine.public + "\n")
    auth.agent(nkey=path)
    auth.told(f"nats.nkey: {path}: has no seed")
    auth.file("seed", mine.seed[:-1] + ("A" if mine.seed[-1] != "A" else "B"))
    auth.told(f"nats.nkey: {path}: its seed is not that of a user")
    auth.file("seed", NKey(0).seed)  # an account's
    auth.told(f"nats.nkey: {path}: its seed is not that of a user")
    auth.file("seed", other.seed)
    auth.told(f"{HERE} refuses NKey {other.public} of {path}")
    auth.file("seed", f"# the agent's\n{mine.seed}\n")
    auth.works()
    auth.end(mine.seed, other.seed)


def test_tls_is_to_the_server_that_was_meant(auth):
    ca, other = Authority("Weir test CA"), Authority("Another CA")

    def serve(cert_and_key):
        auth.file("server.pem", cert_and_key[0])
        auth.file("server.key", cert_and_key[1])
        auth.serve(f"tls {{ cert_file: {auth.path('server.pem')}, "
                   f"key_file: {auth.path('server.key')}, timeout: 2 }}")

    path = auth.path("ca.pem")
    auth.serve("")
    auth.agent(tls={"ca": path, "name": "nats.test"})
    auth.told(f"nats.tls.ca: {path}: No such file")
    auth.file("ca.pem", "no certificate")
    auth.told(path, "no certificate")
    auth.file("ca.pem", ca.pem)
    auth.told(f"{HERE}: the server has no TLS, and \"nats\" asks for it: nothing was sent")
    auth.unserve()
    serve(other.issue("server", hosts=["nats.test"]))
    auth.told(f"{HERE}: its certificate is of a CA that is not known here: set nats.tls.ca")
    serve(ca.issue("server", hosts=["elsewhere.test"]))
    auth.told(f"{HERE}: its certificate is for another name")
    serve(ca.issue("server", hosts=["nats.test"], days=-1))
    auth.told(f"{HERE}: its certificate, or that of its CA, has expired: renew it")
    serve(ca.issue("server", hosts=["nats.test"]))
    auth.works()
    auth.end()
    # The address is the name where none is given. (A tls:// URL asks for it, too.)
    auth.agent(url=f"tls://{HERE}", tls={"ca": path})
    auth.told(f"{HERE}: its certificate is for another name")
    serve(ca.issue("server", addresses=["127.0.0.1"]))
    auth.works()
    auth.end()
    # Nobody asked for TLS, the server does: it is checked all the same.
    auth.agent()
    auth.told(f"{HERE}: its certificate is of a CA that is not known here")
    auth.end()


def test_credentials_over_mutual_tls(auth):
    """Decentralised: the server knows an operator, and of users what their JWTs say."""
    ca, operator, stranger = Authority("CA"), Operator(), Operator()
    path = auth.path("agent.creds")
    for name, pem in zip(("server.pem", "server.key"),
                         ca.issue("server", addresses=["127.0.0.1"])):
        auth.file(name, pem)
    auth.file("ca.pem", ca.pem)
    auth.serve(operator.server_config() + "tls {{ cert_file: {0}/server.pem, key_file: "
               "{0}/server.key, ca_file: {0}/ca.pem, verify: true, timeout: 2 }}"
               .format(auth.dir))

    def client(authority):
        cert, key = authority.issue("agent")
        auth.file("client.key", key)
        auth.file("client.pem", cert)

    auth.file("agent.creds", operator.credentials())
    auth.agent(tls={"ca": auth.path("ca.pem")}, credentials=path)
    auth.told(f"{HERE}: the server closed the connection: it may want a certificate")
    auth.end()
    client(Authority("Another CA"))
    auth.agent(tls={"ca": auth.path("ca.pem"), "cert": auth.path("client.pem"),
                    "key": auth.path("client.key")}, credentials=path)
    auth.told(f"{HERE}: the server closed the connection: it may not take the certificate")
    client(ca)
    auth.works()
    auth.end()

    auth.file("agent.creds", stranger.credentials())
    auth.agent(tls={"ca": auth.path("ca.pem"), "cert": auth.path("client.pem"),
                    "key": auth.path("client.key")}, credentials=path)
    auth.told(f"{HERE} refuses the credentials of {path}: Authorization Violation")
    auth.file("agent.creds", operator.credentials(exp=int(time.time()) - 60))
    auth.told(f"{HERE} refuses the credentials of {path}, which expired 20")
    auth.file("agent.creds", operator.credentials(seed=NKey(USER).seed))
    auth.told(f"nats.credentials: {path}: its seed is not that of its JWT's user")
    auth.file("agent.creds", operator.credentials().split("------END NATS")[0])
    auth.told(f"nats.credentials: {path}: has not both a JWT and a seed")
    # The server ends a connection whose JWT expires; by then others are in place.
    log = auth.lab.log("agent")
    size = log.stat().st_size
    auth.file("agent.creds", operator.credentials(exp=int(time.time()) + 3))
    auth.works()
    auth.file("agent.creds", operator.credentials())
    wait_for(lambda: "lost, trying again" in log.read_text()[size:], "the JWT to expire", 20)
    auth.works()
    auth.end("SUA")
