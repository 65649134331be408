# SPDX-License-Identifier: Apache-2.0
"""nats-servers of a laboratory, and what tests do to them: a client that speaks the protocol
itself (it must see what libraries hide, and start in no time), one server whose files can be
tampered with, and a cluster of three, each in a namespace of its own on a bridge."""
import base64
import collections
import contextlib
import itertools
import json
import os
import shutil
import socket

from weirlab import wait_for
from weirlab.lab import PATIENCE, LabError, run
from weirlab.links import in_netns, ns_path

PORT, ROUTES = 4222, 6222
_serial = itertools.count(1)


class JsError(Exception):
    """JetStream's answer was an error: .code is its err_code."""

    def __init__(self, what, error):
        self.code = error.get("err_code", error.get("code"))
        super().__init__(f"{what}: {error.get('description')} ({self.code})")


class Message:
    """What came: subject, where an answer goes, headers, bytes."""

    def __init__(self, subject, reply, headers, data):
        self.subject, self.reply, self.headers, self.data = subject, reply, headers, data

    def json(self):
        return json.loads(self.data)


def _headers(raw):
    lines = raw.decode().split("\r\n")
    found = dict(line.split(":", 1) for line in lines[1:] if ":" in line)
    found = {name: value.strip() for name, value in found.items()}
    if status := lines[0][len("NATS/1.0"):].strip():
        found["Status"] = status
    return found


class Nats:
    """One connection to one nats-server, from inside a namespace. One thread."""

    def __init__(self, ns, host="127.0.0.1", port=PORT, timeout=5.0, **connect):
        self.timeout = timeout * PATIENCE
        self.sock = in_netns(ns_path(ns), lambda: socket.create_connection((host, port),
                                                                          self.timeout))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.waiting = b"", collections.deque()
        self.inbox = f"_INBOX.{os.getpid()}.{next(_serial)}"
        self.info = json.loads(self._line()[5:])
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True,
                   "lang": "py", "version": "0", "protocol": 1, **connect}
        self._send(b"CONNECT %s\r\nSUB %s.* 1\r\nPING\r\n" %
                   (json.dumps(options).encode(), self.inbox.encode()))
        self._count = itertools.count(1)
        self._read_until_pong()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def _send(self, data):
        self.sock.sendall(data)

    def _more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise LabError("nats: the server closed the connection")
        self.buffer += data

    def _take(self, n):
        """n bytes; what is there stays there if they do not come in time."""
        while len(self.buffer) < n:
            self._more()
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        return self._take(self.buffer.index(b"\r\n") + 2)

    def _read_until_pong(self):
        while not (line := self._line()).startswith(b"PONG"):
            if line.startswith(b"-ERR"):
                raise LabError(f"nats: {line.decode().strip()}")

    def next(self, timeout=None):
        """The next message; TimeoutError if none comes."""
        return self.waiting.popleft() if self.waiting else self._receive(timeout)

    def _receive(self, timeout):
        self.sock.settimeout(self.timeout if timeout is None else timeout)
        while True:
            line = self._line()
            if line.startswith(b"PING"):
                self._send(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                raise LabError(f"nats: {line.decode().strip()}")
            elif line.startswith((b"MSG", b"HMSG")):
                words = line.decode().split()
                size, head = int(words[-1]), int(words[-2]) if words[0] == "HMSG" else 0
                sizes = 2 if head else 1
                reply = words[3] if len(words) == 4 + sizes else ""
                body = self._take(size + 2)[:size]
                return Message(words[1], reply, _headers(body[:head]) if head else {},
                               body[head:])

    def pub(self, subject, data=b"", reply="", headers=None):
        """Sends, and asks for nothing."""
        if isinstance(data, str):
            data = data.encode()
        elif not isinstance(data, bytes):
            data = json.dumps(data).encode()
        if headers:
            head = ("NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) +
                    "\r\n").encode()
            self._send(f"HPUB {subject} {reply} {len(head)} {len(head) + len(data)}\r\n".encode() +
                       head + data + b"\r\n")
        else:
            self._send(f"PUB {subject} {reply} {len(data)}\r\n".encode() + data + b"\r\n")

    def request(self, subject, data=b"", headers=None, timeout=None, keep=False):
        """keep: other messages that come before the answer are for next()."""
        reply, others = f"{self.inbox}.{next(self._count)}", []
        self.pub(subject, data, reply, headers)
        while True:
            answer = self._receive(timeout)
            if answer.subject != reply:
                others += [answer] if keep else []
            else:
                self.waiting += others
                if answer.headers.get("Status", "").startswith("503"):
                    raise JsError(subject, {"code": 503, "description": "no responders"})
                return answer

    # --------------------------------------------------------------- JetStream

    def js(self, api, body=None, timeout=None, keep=False):
        answer = self.request(f"$JS.API.{api}", b"" if body is None else body,
                              timeout=timeout, keep=keep).json()
        if "error" in answer:
            raise JsError(api, answer["error"])
        return answer

    def publish(self, subject, data, msg_id=None, timeout=None, **headers):
        """A PubAck."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if msg_id:
            headers["Nats-Msg-Id"] = msg_id
        answer = self.request(subject, data, headers, timeout).json()
        if "error" in answer:
            raise JsError(subject, answer["error"])
        return answer

    def stream(self, name="METER"):
        """STREAM.INFO: config, state, cluster, created."""
        return self.js(f"STREAM.INFO.{name}")

    def last(self, name="METER"):
        return self.stream(name)["state"]["last_seq"]

    def get(self, name, **query):
        """One message: seq, subject, hdrs (decoded), data."""
        message = self.js(f"STREAM.MSG.GET.{name}", query)["message"]
        message["data"] = base64.b64decode(message.get("data", ""))
        message["hdrs"] = _headers(base64.b64decode(message.get("hdrs", "")))
        return message

    def edit(self, name, **config):
        """STREAM.UPDATE with these fields changed."""
        return self.js(f"STREAM.UPDATE.{name}", {**self.stream(name)["config"], **config})

    def read(self, name="METER", from_seq=1):
        """Messages of a stream, from a sequence number on up to what it has when asked: with .seq
        and .msg_id. TimeoutError: they did not all come."""
        state = self.stream(name)["state"]
        if not state["messages"] or state["last_seq"] < from_seq:
            return
        inbox, number = f"{self.inbox}x.{next(self._count)}", 1 + next(self._count)
        self._send(f"SUB {inbox} {number}\r\n".encode())
        consumer = self.js(f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": {
            "deliver_subject": inbox, "deliver_policy": "by_start_sequence",
            "opt_start_seq": from_seq, "ack_policy": "none", "replay_policy": "instant",
            "num_replicas": 1, "mem_storage": True}}, keep=True)["name"]
        while True:
            message = self.next()
            # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
            place = message.reply.split(".")
            if place[:2] != ["$JS", "ACK"] or place[3] != consumer:
                continue
            message.seq, message.msg_id = int(place[5]), message.headers.get("Nats-Msg-Id")
            yield message
            # Not when none is pending, as the message says: a new leader counts wrongly.
            if message.seq >= state["last_seq"]:
                break
        self._send(f"UNSUB {number}\r\n".encode())
        with contextlib.suppress(JsError, TimeoutError):
            self.js(f"CONSUMER.DELETE.{name}.{consumer}")

    def dump(self, name="METER"):
        """All that the stream holds, as Lab.stream() shows it."""
        return [{"seq": m.seq, "subject": m.subject, "msg_id": m.msg_id, "event": m.json()}
                for m in self.read(name)]


class Server:
    """The one nats-server of a lab, whose files and limits can be tampered with."""

    def __init__(self, lab):
        self.lab, self.store = lab, lab.dir / "nats"

    def start(self, **options):
        conf = self.lab.dir / "nats.conf"
        lines = [f'listen: "127.0.0.1:{PORT}"', f'jetstream {{ store_dir: "{self.store}" }}']
        conf.write_text("\n".join(lines + [f"{k}: {v}" for k, v in options.items()]) + "\n")
        self.lab.nats = self.lab.spawn(["nats-server", "-c", conf], "server", "nats")
        self.lab.await_listening(self.lab.nats, PORT, "nats-server", "nats")

    def kill(self):
        """kill -9: what was acknowledged is in the page cache."""
        self.lab.nats.kill()
        self.lab.nats.wait()

    def client(self):
        return Nats(self.lab.server_ns)

    def forget(self):
        """While it is dead: all that it had is gone."""
        shutil.rmtree(self.store)

    def lose_tail(self, stream="METER"):
        """While it is dead: the later half of a stream's newest messages is gone, as a power loss
        may have it."""
        blocks = (self.store / "jetstream" / "$G" / "streams" / stream / "msgs").glob("*.blk")
        newest = max(blocks, key=lambda block: int(block.stem))
        os.truncate(newest, newest.stat().st_size // 2)


class Cluster:
    """Three nats-servers, each in a namespace of its own, with two networks: one for each other and
    one for clients, which the lab's server side is on too. Either link of a server can be cut."""
    nodes = range(3)
    clients_net, routes_net = "172.30.0", "172.31.0"

    def __init__(self, lab):
        self.lab = lab
        self.process = [None for _ in self.nodes]
        self.switch = f"{lab.name}b"
        self._namespace(self.switch)
        for bridge in ("clients", "routes"):
            lab.ip(self.switch, "link", "add", bridge, "type", "bridge")
            lab.ip(self.switch, "link", "set", bridge, "up")
        for node in self.nodes:
            self._namespace(self.ns(node))
            self._link(self.ns(node), "clients", f"{self.clients_net}.{node + 1}", f"c{node}")
            self._link(self.ns(node), "routes", f"{self.routes_net}.{node + 1}", f"r{node}")
        self._link(lab.server_ns, "clients", f"{self.clients_net}.10", "lab")
        self.urls = [f"nats://{self.clients_net}.{node + 1}:{PORT}" for node in self.nodes]
        for node in self.nodes:
            self.start(node)

    def _namespace(self, ns):
        run("ip", "netns", "add", ns)
        self.lab._undo.callback(run, "ip", "netns", "del", ns, check=False)
        self.lab.ip(ns, "link", "set", "lo", "up")

    def _link(self, ns, bridge, address, port):
        run("ip", "link", "add", bridge, "netns", ns, "type", "veth", "peer", "name", port,
            "netns", self.switch)
        self.lab.ip(self.switch, "link", "set", port, "master", bridge, "up")
        self.lab.ip(ns, "addr", "add", f"{address}/24", "dev", bridge)
        self.lab.ip(ns, "link", "set", bridge, "up")

    def ns(self, node):
        return f"{self.lab.name}n{node}"

    # ------------------------------------------------------------ what is done to them

    def start(self, node):
        conf = self.lab.dir / f"nats{node}.conf"
        routes = ", ".join(f'"nats://{self.routes_net}.{n + 1}:{ROUTES}"' for n in self.nodes)
        conf.write_text(f"""server_name: n{node}
listen: "{self.clients_net}.{node + 1}:{PORT}"
jetstream {{ store_dir: "{self.lab.dir}/nats{node}" }}
cluster {{ name: lab, listen: "{self.routes_net}.{node + 1}:{ROUTES}", routes: [{routes}] }}
""")
        self.process[node] = self.lab.spawn(
            ["nsenter", f"--net={ns_path(self.ns(node))}", "--", "nats-server", "-c", conf],
            "server", f"nats{node}")

    def kill(self, node):
        self.process[node].kill()
        self.process[node].wait()

    def cut(self, node, clients=False):
        """From the two others; and from its clients."""
        for port in (f"r{node}", f"c{node}") if clients else (f"r{node}",):
            self.lab.ip(self.switch, "link", "set", port, "down")

    def heal(self, node):
        for port in (f"r{node}", f"c{node}"):
            self.lab.ip(self.switch, "link", "set", port, "up")

    # --------------------------------------------------------------- what they say

    def client(self, node, timeout=1.0):
        """From inside of its namespace: whatever is cut."""
        return Nats(self.ns(node), f"{self.clients_net}.{node + 1}", timeout=timeout)

    def ask(self, node, question):
        """What question(client) makes of a server; None: it does not answer, or cannot."""
        try:
            with self.client(node) as js:
                return question(js)
        except (OSError, LabError, JsError):
            return None

    def leader(self, stream="METER", among=nodes):
        """Its number, as most of these say: one that is cut off goes on believing in itself."""
        said = [self.ask(n, lambda js: js.stream(stream)["cluster"].get("leader")) for n in among]
        told = [name for name in said if name]
        return int(max(told, key=told.count)[1:]) if told else None

    def wait_leader(self, but=None, stream="METER", seconds=60):
        """The leader, once there is one, another than `but`."""
        def led():
            leader = self.leader(stream, [n for n in self.nodes if n != but])
            return [leader] if leader not in (None, but) else None
        return wait_for(led, f"a leader of {stream}", seconds, every=0.1)[0]

    def wait_whole(self, seconds=60):
        """Every server has all that the leaders have."""
        def current(js):
            streams = js.js("STREAM.LIST")["streams"]
            return streams and all(
                s["cluster"].get("leader") and len(s["cluster"].get("replicas", ())) == 2 and
                all(r["current"] and not r.get("offline") for r in s["cluster"]["replicas"])
                for s in streams if s["config"]["num_replicas"] == 3)
        wait_for(lambda: all(self.ask(node, current) for node in self.nodes),
                 "all replicas to be current", seconds, every=0.1)

    def make_leader(self, node, stream="METER"):
        """Have the leadership handed on, until it is this one's."""
        def his():
            leader = self.leader(stream)
            if leader not in (None, node):
                self.ask(leader, lambda js: js.js(f"STREAM.LEADER.STEPDOWN.{stream}"))
            return leader == node
        wait_for(his, f"server {node} to lead {stream}", 60, every=0.2)

    def agents_server(self):
        """The number of the server that the agent's publisher is connected to; None: to none."""
        shown = self.lab.in_server("ss", "-Htnp", "state", "established", f"dport = :{PORT}").stdout
        for line in shown.splitlines():
            if f"pid={self.lab.agent.pid}," in line:
                return int(line.split()[3].rsplit(":", 1)[0].rsplit(".", 1)[1]) - 1
        return None
