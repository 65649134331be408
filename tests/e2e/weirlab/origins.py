# SPDX-License-Identifier: Apache-2.0
"""The HTTP stacks that model servers are built on, each telling which requests
it parsed on a connection, and whether it has done with the bytes it was sent."""
import dataclasses
import json
import pathlib
import socket

from .lab import HERE, SERVER4, LabError, wait_for
from .wire import answers

SERVERS = HERE.parent / "servers"
STACKS = {"h11": 8001, "httptools": 8002, "nginx": 8003, "node": 8004}


@dataclasses.dataclass
class Seen:
    """A request as a server parsed it. body: None while (or if) it did not get the whole."""
    method: str
    target: str
    headers: dict
    body: str | None = None
    id: str = ""

    def all(self, name):
        """Every value of a header, as a list; nginx tells absent ones as ""."""
        return [v for v in self.headers.get(name, []) if v]

    @property
    def key(self):
        for name in ("authorization", "x-api-key", "api-key"):
            for value in self.all(name):
                return value.split(None, 1)[-1]
        return ""


class Origin:
    """One server, in the lab's server namespace."""

    def __init__(self, lab, stack):
        self.lab, self.stack, self.port = lab, stack, STACKS[stack]
        self.path = lab.dir / f"{stack}.requests"
        self.path.touch()
        self._offset = 0
        self.child = lab.spawn(self._argv(), "server", name=stack)
        lab.await_listening(self.child, self.port, stack, stack)
        self._probe = lab.socket(where="server")
        self._probe.connect((SERVER4, self.port))
        self._heard, self._answered = b"", 0

    def _argv(self):
        if self.stack == "nginx":
            text = (SERVERS / "nginx.conf").read_text()
            for name, value in (("PORT", self.port), ("DIR", self.lab.dir), ("LOG", self.path)):
                text = text.replace(f"@{name}@", str(value))
            conf = self.lab.dir / "nginx.conf"
            conf.write_text(text)
            return ["/usr/sbin/nginx", "-c", conf, "-e", self.lab.log("nginx")]
        if self.stack == "node":
            # As long as any head that is let through: the limit of 16 KiB is node's own.
            return [self.lab.node, "--max-http-header-size=65536", SERVERS / "node.mjs", self.port,
                    self.path]
        return ["/usr/bin/python3", SERVERS / "asgi.py", "--http", self.stack, "--port", self.port,
                "--log", self.path]

    def mark(self):
        """What is told from here on is of this place in the log."""
        return self.path.stat().st_size

    def lines(self, mark=0):
        with open(self.path, "rb") as f:
            f.seek(mark)
            # the last line may be in the making
            return [json.loads(line) for line in f.read().decode("latin-1").split("\n")[:-1]]

    def seen(self, peer, mark=0):
        """Requests of one connection ("ip:port"), in order."""
        return self.connections(mark).get(peer, [])

    def connections(self, mark=0):
        """Requests by connection."""
        found, numbered = {}, {}
        for line in self.lines(mark):
            requests = found.setdefault(line["peer"].removeprefix("::ffff:"), [])
            if line["event"] == "body":
                numbered[line["n"]].body, numbered[line["n"]].id = line["text"], line["id"]
            elif line["event"] == "head":
                numbered[line["n"]] = Seen(line["method"], line["target"], line["headers"])
                requests.append(numbered[line["n"]])
            elif line["upstream"] or line["status"] == 200:
                requests.append(Seen(line["method"], line["target"], line["headers"],
                                     line["text"], line["id"]))
            elif line["status"] == 499:  # parsed; its body did not come, or its client went
                requests.append(Seen(line["method"], line["target"], line["headers"]))
        return found

    def unread(self, peer):
        """Bytes that came on this connection and that the server did not read yet."""
        address, port = peer.rsplit(":", 1)
        want = "%08X:%04X" % (int.from_bytes(socket.inet_aton(address), "little"), int(port))
        table = pathlib.Path(f"/proc/{self.child.pid}/net/tcp").read_text()
        for line in table.splitlines()[1:]:
            field = line.split()
            if field[2] == want and int(field[1].split(":")[1], 16) == self.port:
                return int(field[4].split(":")[1], 16)
        return 0

    def caught_up(self, peer, large=False):
        """Wait until what was sent (and acknowledged) is parsed. The servers are event loops
        that serve sockets in the order in which they became readable: when one answers somebody
        who asked later, it has parsed it. Only what it does not take in one read (large) has to
        be looked for; the kernel's table is slow to read."""
        if large:
            wait_for(lambda: not self.unread(peer), f"{self.stack} to read", every=0.005)
        for _ in range(2):  # nginx writes its log a turn later than it closes
            self._ask()

    def _ask(self):
        self._probe.sendall(b"GET /probe HTTP/1.1\r\nHost: model.test\r\n\r\n")
        self._answered += 1
        while answers(self._heard) < 1:
            data = self._probe.recv(65536)
            if not data:
                raise LabError(f"{self.stack} hung up on the probe, after {self._answered}")
            self._heard += data
        self._heard = b""

    def close(self):
        self._probe.close()
