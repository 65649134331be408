# SPDX-License-Identifier: Apache-2.0
"""Interfaces that come and go: veth pairs, more namespaces with servers in them,
tun devices, and programs of somebody else on the hooks."""
import contextlib
import ctypes
import json
import os
import socket
import struct
import threading

from .lab import CLONE_NEWNET, HERE, PORT, Lab, LabError, _libc, run, wait_for
from .raw_http import chat_body, send

CHAT = "/v1/chat/completions"


def in_netns(path, step):
    """What step() returns, run inside a namespace: one belongs to a thread."""
    result = []

    def enter():
        fd = os.open(path, os.O_RDONLY)
        try:
            if _libc.setns(fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {path}")
        finally:
            os.close(fd)
        try:
            result.append((True, step()))
        except Exception as e:  # for the caller's thread
            result.append((False, e))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if not result:
        raise LabError(f"cannot enter {path}")
    good, value = result[0]
    if not good:
        raise value
    return value


def connect(path, address, port=PORT, source=None):
    """A connection out of a namespace."""
    def make():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            sock.settimeout(20)
            if source:
                sock.bind((source, 0))
            sock.connect((address, port))
        except OSError:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    return in_netns(path, make)


def ns_path(ns):
    return f"/run/netns/{ns}"


def add_veth(lab, name, net, server_ns=None, peer=None, final=None):
    """A veth pair between the clients' namespace and another one, the lab's server's if none is
    given, with 10.<net>.0.1 and .2 and fd<net>::1 and ::2 on it. `final`: the server's end gets
    this name once all else is done. Returns the server's addresses."""
    server_ns, peer = server_ns or lab.server_ns, peer or f"c{net}"
    run("ip", "link", "add", peer, "netns", lab.client_ns, "type", "veth",
        "peer", "name", name, "netns", server_ns)
    for ns, dev, host in ((lab.client_ns, peer, 1), (server_ns, name, 2)):
        lab.ip(ns, "addr", "add", f"10.{net}.0.{host}/24", "dev", dev)
        lab.ip(ns, "addr", "add", f"fd{net}::{host}/64", "dev", dev, "nodad")
        lab.ip(ns, "link", "set", dev, "up")
    if final:
        rename(lab, server_ns, name, final)
    return f"10.{net}.0.2", f"fd{net}::2"


def rename(lab, ns, old, new):
    """As udev does it: down first (IPv6 addresses go with that, so they are put again)."""
    shown = json.loads(run("ip", "-n", ns, "-j", "-6", "addr", "show", "dev", old).stdout)
    kept = [f"{a['local']}/{a['prefixlen']}" for d in shown for a in d.get("addr_info", ())
            if a["scope"] == "global"]
    lab.ip(ns, "link", "set", old, "down")
    lab.ip(ns, "link", "set", old, "name", new)
    lab.ip(ns, "link", "set", new, "up")
    for address in kept:
        lab.ip(ns, "addr", "replace", address, "dev", new, "nodad")


def del_link(lab, name, ns=None):
    lab.ip(ns or lab.server_ns, "link", "del", name)


def ifindex(ns, name):
    return json.loads(run("ip", "-n", ns, "-j", "link", "show", "dev", name).stdout)[0]["ifindex"]


class ModelServer:
    """One more model server, wherever it is to be."""

    def __init__(self, lab, ns, port=PORT, name="server2"):
        self.admin_path = lab.dir / f"{name}.sock"
        self.process = lab.spawn(
            ["nsenter", f"--net={ns_path(ns)}", "--", "/usr/bin/python3", "-m",
             "weirlab.model_server", "--admin", self.admin_path, "--port", port],
            "server", name, cwd=HERE.parent)

        def listening():
            if self.process.poll() is not None:
                raise LabError(f"{name} ended:\n{lab.log(name).read_text()[-2000:]}")
            return run("nsenter", f"--net={ns_path(ns)}", "--", "ss", "-Hltn",
                       f"sport = :{port}").stdout.strip()
        wait_for(listening, f"{name} to listen", 20)

    admin = Lab.admin
    served = Lab.served

    def end(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def pod(lab, net, name="p", dev="eth0"):
    """One more namespace with a veth to the clients', gone afterwards. Yields its name."""
    ns = f"{lab.name}{name}"
    make_pod(lab, ns, net, dev)
    try:
        yield ns
    finally:
        run("ip", "netns", "del", ns, check=False)


def make_pod(lab, ns, net, dev="eth0"):
    run("ip", "netns", "add", ns)
    lab.ip(ns, "link", "set", "lo", "up")
    add_veth(lab, dev, net, server_ns=ns)


# ------------------------------------------------------- what is claimed of all

def ask(sock, key, **body):
    """One request on a connection that it then closes: status and the whole answer."""
    with sock:
        answer = send(sock, "POST", CHAT, key, chat_body(**body))
        document = answer.json()
        if answer.status != 200:
            # Complete, and closed in order.
            assert sock.recv(1) == b"" and "error" in document
    return answer.status, document


def status_of(lab, name):
    (interface,) = [i for i in lab.ctl("status")["interfaces"] if i["name"] == name]
    return interface


def wait_attached(lab, name, tc="tcx", seconds=5):
    return wait_for(lambda: (s := status_of(lab, name))["tc_mode"] == tc and s,
                    f"{name} to be {tc}", seconds)


def pinned(lab):
    """(hook, ifindex) of every link of an interface that is pinned."""
    names = (p.name for p in (lab.pins / "links").iterdir() if "-" in p.name)
    return {(n.split("-")[0], int(n.split("-")[2])) for n in names}


# ------------------------------------------------------------- somebody else's

BPF_OBJ_GET, BPF_PROG_QUERY, BPF_LINK_CREATE = 7, 16, 28
TCX = {"ingress": 46, "egress": 47}
BPF_F_BEFORE = 8
_SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]


def _bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), 128))
    result = _libc.syscall(_SYS_BPF, command, buffer, len(buffer))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}")
    return result, buffer.raw


def _program(pin):
    path = ctypes.create_string_buffer(os.fsencode(pin) + b"\0")
    return _bpf(BPF_OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))[0]


class ForeignTcx:
    """Somebody else's program on a tcx hook, as long as close() is not called."""

    def __init__(self, lab, ns, dev, hook, first=False):
        with lab._foreign("tc") as pin:
            fd = _program(pin)
            try:
                self.fd = in_netns(ns_path(ns), lambda: _bpf(BPF_LINK_CREATE, struct.pack(
                    "=IIII", fd, socket.if_nametoindex(dev), TCX[hook],
                    BPF_F_BEFORE if first else 0))[0])
            finally:
                os.close(fd)

    def close(self):
        os.close(self.fd)


def tcx_programs(ns, dev, hook):
    """Ids in the order they run."""
    ids = (ctypes.c_uint32 * 64)()

    def query():
        _, raw = _bpf(BPF_PROG_QUERY, struct.pack(
            "=IIIIQI", socket.if_nametoindex(dev), TCX[hook], 0, 0, ctypes.addressof(ids), 64))
        return list(ids[:struct.unpack_from("=I", raw, 24)[0]])
    return in_netns(ns_path(ns), query)


def add_foreign_xdp(lab, ns, dev, mode="xdpdrv"):
    with lab._foreign("xdp") as pin:
        run("nsenter", f"--net={ns_path(ns)}", "--", "bpftool", "net", "attach", mode, "pinned",
            pin, "dev", dev)


def remove_xdp(ns, dev, mode="xdpdrv"):
    run("nsenter", f"--net={ns_path(ns)}", "--", "bpftool", "net", "detach", mode, "dev", dev)


def add_foreign_filter(lab, ns, dev, hook, pref):
    tc = ["nsenter", f"--net={ns_path(ns)}", "--", "tc"]
    with lab._foreign("tc") as pin:
        run(*tc, "qdisc", "add", "dev", dev, "clsact", check=False)
        run(*tc, "filter", "add", "dev", dev, hook, "pref", pref, "bpf", "da", "pinned", pin)


def filters(ns, dev, hook):
    return run("nsenter", f"--net={ns_path(ns)}", "--", "tc", "filter", "show", "dev", dev,
               hook).stdout


def xdp_shown(ns, dev):
    """What ip says: mode and program id, or None."""
    link = json.loads(run("ip", "-n", ns, "-j", "-d", "link", "show", "dev", dev).stdout)[0]
    xdp = link.get("xdp")
    return xdp and ({1: "native", 2: "generic"}[xdp["mode"]], xdp["prog"]["id"])
