# SPDX-License-Identifier: Apache-2.0
"""nats-servers of a laboratory, and what tests do to them: a client that speaks the protocol
itself (it must see what libraries hide, and start in no time), one server whose files can be
tampered with, and a cluster of three, each in a namespace of its own on a bridge."""
import base64
import contextlib
import itertools
import json
import os
import shutil
import socket
import threading
import time

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
        self.buffer = b""
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

    def request(self, subject, data=b"", headers=None, timeout=None):
        reply = f"{self.inbox}.{next(self._count)}"
        self.pub(subject, data, reply, headers)
        while True:
            answer = self.next(timeout)
            if answer.subject == reply:
                if answer.headers.get("Status", "").startswith("503"):
                    raise JsError(subject, {"code": 503, "description": "no responders"})
                return answer

    # --------------------------------------------------------------- JetStream

    def js(self, api, body=None, timeout=None):
        answer = self.request(f"$JS.API.{api}", b"" if body is None else body,
                              timeout=timeout).json()
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

    def dump(self, name="METER"):
        """All that the stream holds: {seq, subject, msg_id, event}, in its order."""
        if not self.stream(name)["state"]["messages"]:
            return []
        inbox = f"{self.inbox}x.{next(self._count)}"
        self._send(f"SUB {inbox} 2\r\n".encode())
        consumer = self.js(f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": {
            "deliver_subject": inbox, "deliver_policy": "all", "ack_policy": "none",
            "replay_policy": "instant", "num_replicas": 1, "mem_storage": True}})["name"]
        found, pending = [], 1
        while pending:
            message = self.next()
            if message.subject == inbox:  # the answer to nothing
                continue
            words = message.reply.split(".")
            if words[:2] != ["$JS", "ACK"]:
                continue
            pending = int(words[8])
            found.append({"seq": int(words[5]), "subject": message.subject,
                          "msg_id": message.headers.get("Nats-Msg-Id"), "event": message.json()})
        self._send(b"UNSUB 2\r\n")
        with contextlib.suppress(JsError, TimeoutError):
            self.js(f"CONSUMER.DELETE.{name}.{consumer}")
        return found


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
