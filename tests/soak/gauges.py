# SPDX-License-Identifier: Apache-2.0
"""The kernel's own figures, read where they are: the pinned maps. `tenants` is mapped into
memory and copied as one, so that a sample costs nothing that would slow down what is
measured; fields are found by the BTF of the programs' object."""
import ctypes
import json
import mmap
import os
import struct

from weirlab.lab import BUILD, LabError, run

OBJ_GET, OBJ_INFO, LOOKUP_BATCH = 7, 15, 24
_SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), 128))
    result = _libc.syscall(_SYS_BPF, command, buffer, len(buffer))
    if result < 0 and ctypes.get_errno() != 2:  # ENOENT: a batch was the last
        raise OSError(ctypes.get_errno(), f"bpf command {command}")
    return result, buffer.raw


class Map:
    """A pinned map: its fd and sizes."""

    def __init__(self, pin):
        path = ctypes.create_string_buffer(os.fsencode(pin) + b"\0")
        self.fd, _ = _bpf(OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))
        if self.fd < 0:
            raise LabError(f"{pin}: no such map")
        info = ctypes.create_string_buffer(128)
        _bpf(OBJ_INFO, struct.pack("=IIQ", self.fd, len(info), ctypes.addressof(info)))
        _, _, self.key_size, self.value_size, self.max_entries = struct.unpack_from("=5I", info)

    def close(self):
        os.close(self.fd)

    def items(self, batch=4096):
        """All (key, value) of a hash, as bytes. What comes and goes meanwhile may be missed."""
        keys = ctypes.create_string_buffer(batch * self.key_size)
        values = ctypes.create_string_buffer(batch * self.value_size)
        place = ctypes.create_string_buffer(max(self.key_size, 8))
        begun, found = 0, []
        while True:
            result, raw = _bpf(LOOKUP_BATCH, struct.pack(
                "=QQQQIIQQ", ctypes.addressof(place) if begun else 0, ctypes.addressof(place),
                ctypes.addressof(keys), ctypes.addressof(values), batch, self.fd, 0, 0))
            n = struct.unpack_from("=I", raw, 32)[0]
            found += [(keys.raw[i * self.key_size:(i + 1) * self.key_size],
                       values.raw[i * self.value_size:(i + 1) * self.value_size])
                      for i in range(n)]
            if result < 0:
                return found
            begun = 1


class Layouts:
    """Byte offsets of the ABI's structs, from the BTF of what runs."""

    def __init__(self):
        types = json.loads(run("bpftool", "-j", "btf", "dump", "file",
                               BUILD / "weir.bpf.o").stdout)["types"]
        self._types = {t["id"]: t for t in types}
        self._structs = {t["name"]: t for t in types if t["kind"] == "STRUCT"}

    def _size(self, number):
        t = self._types[number]
        while "size" not in t:
            if t["kind"] == "ARRAY":
                return t["nr_elems"] * self._size(t["type_id"])
            t = self._types[t["type_id"]]
        return t["size"]

    def offsets(self, name):
        """Field -> (offset, size)."""
        return {m["name"]: (m["bits_offset"] // 8, self._size(m["type_id"]))
                for m in self._structs[name]["members"]}

    def size(self, name):
        return self._structs[name]["size"]


class Tenants:
    """The `tenants` array. sample() is a copy of it, taken in one go; column() is a field of
    all entries in a sample."""

    SIGNED = {"connections", "inflight", "half_open", "ceiling_nano", "balance_nano"}

    def __init__(self, pins, layouts):
        self.map = Map(pins / "maps" / "tenants")
        self._fields = layouts.offsets("weir_tenant")
        self._settled = layouts.offsets("weir_settled")
        self.size = layouts.size("weir_tenant")
        assert self.map.value_size == self.size
        self._memory = mmap.mmap(self.map.fd, self.map.max_entries * self.size, mmap.MAP_SHARED,
                                 mmap.PROT_READ)
        self.entries = self.map.max_entries

    def close(self):
        self._memory.close()
        self.map.close()

    def sample(self):
        return self._memory[:self.entries * self.size]

    def column(self, sample, field):
        offset, size = self._fields[field]
        code = {2: "H", 4: "I", 8: "Q"}[size]
        code = code.lower() if field in self.SIGNED else code
        return memoryview(sample).cast(code)[offset // size::self.size // size].tolist()

    def _word(self, sample, entry, offset, size):
        at = entry * self.size + offset
        return int.from_bytes(sample[at:at + size], "little")

    def reserved(self, sample, entry):
        """(nano-credits, tokens) of the entry's requests that are not settled."""
        at, size = self._fields["settled"]
        size //= 2
        position, _ = self._settled["ring_pos"]
        valid = max((0, 1), key=lambda i: self._word(sample, entry, at + i * size + position, 8))
        released = self._word(sample, entry,
                              at + valid * size + self._settled["released_nano"][0], 8)
        nano = self._word(sample, entry, *self._fields["reserved_nano"]) - released - \
            self._word(sample, entry, *self._fields["lost_nano"])
        tokens = self._word(sample, entry, *self._fields["reserved_tokens"]) - \
            self._word(sample, entry, self._fields["released_tokens"][0] + 4 * valid, 4)
        return (nano + (1 << 63)) % (1 << 64) - (1 << 63), \
            (tokens + (1 << 31)) % (1 << 32) - (1 << 31)


def entry_numbers(pins):
    """Tenant's name -> entry, and (tenant, service) -> entry of the scope."""
    names, scopes = Map(pins / "maps" / "names"), Map(pins / "maps" / "scopes")
    try:
        by_name = {key.split(b"\0")[0].decode(): struct.unpack("=I", value[:4])[0]
                   for key, value in names.items()}
        by_scope = {struct.unpack("=II", key): struct.unpack("=I", value[:4])[0]
                    for key, value in scopes.items()}
    finally:
        names.close()
        scopes.close()
    return by_name, by_scope


class Flows:
    """The `flows` hash: connections as the kernel follows them."""

    STATES = ("syn", "open", "refused", "closed")

    def __init__(self, pins, layouts):
        self.map = Map(pins / "maps" / "flows")
        self._at = {k: o for k, (o, _) in layouts.offsets("weir_flow").items()}

    def close(self):
        self.map.close()

    def read(self):
        """(address, port) of the client -> (state, flags, tenant); IPv4 only."""
        found = {}
        for key, value in self.map.items():
            address = ".".join(map(str, key[12:16]))
            port = int.from_bytes(key[32:34], "big")
            flags, = struct.unpack_from("=I", value, self._at["flags"])
            tenant, = struct.unpack_from("=I", value, self._at["tenant"])
            found[address, port] = self.STATES[value[self._at["state"]]], flags, tenant
        return found
