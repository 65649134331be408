# SPDX-License-Identifier: Apache-2.0
"""A reader of JetStream that shares nothing with the agent: NATS's protocol over a socket, as its
documentation has it. What the agent's library believes, this one has to see on the wire."""
import itertools
import json

from weirlab import LabError


class Message:
    """One of a stream. seq: its place there; msg_id: the Nats-Msg-Id header."""
    __slots__ = ("seq", "subject", "msg_id", "data")

    def __init__(self, seq, subject, msg_id, data):
        self.seq, self.subject, self.msg_id, self.data = seq, subject, msg_id, data


class Wire:
    """One connection. sock: connected to the server's port."""

    def __init__(self, sock):
        self.sock, self._numbers = sock, itertools.count(1)
        self._from = sock.makefile("rb", 1 << 20)
        self._line()  # INFO
        self._put(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,'
                  b'"lang":"python","version":"0","protocol":1}\r\n')

    def close(self):
        self._from.close()
        self.sock.close()

    def _put(self, data):
        self.sock.sendall(data)

    def _line(self):
        line = self._from.readline()
        if not line.endswith(b"\r\n"):
            raise LabError("nats-server closed the connection")
        return line[:-2].decode()

    def _bytes(self, n):
        data = self._from.read(n + 2)
        if len(data) != n + 2:
            raise LabError("nats-server closed the connection")
        return data[:-2]

    def _next(self):
        """The next message: number of the subscription, subject, reply, headers, data."""
        while True:
            line = self._line()
            op, *words = line.split()
            if op == "PING":
                self._put(b"PONG\r\n")
            elif op == "MSG":
                data = self._bytes(int(words[-1]))
                return int(words[1]), words[0], words[2] if len(words) == 4 else "", b"", data
            elif op == "HMSG":
                head, whole = int(words[-2]), int(words[-1])
                data = self._bytes(whole)
                return (int(words[1]), words[0], words[2] if len(words) == 5 else "", data[:head],
                        data[head:])
            elif op == "-ERR":
                raise LabError(f"nats-server: {line}")

    def _inbox(self):
        n = next(self._numbers)
        name = f"_INBOX.chaos.{id(self)}.{n}"
        self._put(f"SUB {name} {n}\r\n".encode())
        return name, n

    def _ask(self, subject, body):
        data = json.dumps(body).encode() if body else b""
        inbox, number = self._inbox()
        self._put(f"UNSUB {number} 1\r\nPUB {subject} {inbox} {len(data)}\r\n".encode() + data +
                  b"\r\n")
        return number

    @staticmethod
    def _answer(subject, head, data):
        if b" 503" in head[:16]:
            raise LabError(f"{subject}: nobody answers")
        answer = json.loads(data)
        if "error" in answer:
            raise LabError(f"{subject}: {answer['error']['description']}")
        return answer

    def request(self, subject, body=None):
        """The answer of JetStream's API; its errors are LabError."""
        number, sub = self._ask(subject, body), None
        while sub != number:  # what is left of an earlier reading is not it
            sub, _, _, head, data = self._next()
        return self._answer(subject, head, data)

    def make_stream(self, name, subject, **config):
        self.request(f"$JS.API.STREAM.CREATE.{name}",
                     {"name": name, "subjects": [subject], "storage": "file", "num_replicas": 1,
                      "retention": "limits", "discard": "new", **config})

    def state(self, stream):
        return self.request(f"$JS.API.STREAM.INFO.{stream}")["state"]

    def read(self, stream, from_seq=1):
        """Messages from a sequence number on, up to what it has now."""
        state = self.state(stream)
        if not state["messages"] or state["last_seq"] < from_seq:
            return
        inbox, number = self._inbox()
        api = f"$JS.API.CONSUMER.CREATE.{stream}"
        asked = self._ask(api, {
            "stream_name": stream, "config": {
                "deliver_subject": inbox, "deliver_policy": "by_start_sequence",
                "opt_start_seq": from_seq, "ack_policy": "none", "replay_policy": "instant",
                "inactive_threshold": 10_000_000_000}})
        while True:
            sub, subject, reply, head, data = self._next()
            if sub == asked:  # among the messages, or before them
                self._answer(api, head, data)
            if sub != number:
                continue
            # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
            place = reply.split(".")
            yield Message(int(place[5]), subject, header(head, b"nats-msg-id"), data)
            if int(place[-1]) == 0 or int(place[5]) >= state["last_seq"]:
                break
        self._put(f"UNSUB {number}\r\n".encode())


def header(block, name):
    for line in block.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode()
    return None
