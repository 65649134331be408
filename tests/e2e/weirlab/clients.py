# SPDX-License-Identifier: Apache-2.0
"""Clients that run as processes of their own: the OpenAI Node SDK of one tenant,
a NATS subscriber and a NATS publisher."""
import json
import queue
import subprocess
import threading
from concurrent.futures import Future

from .contract import check_message
from .raw_http import chat_body


class LineProcess:
    """A child that writes JSON lines; a thread hands each to _line()."""

    def __init__(self, lab, where, argv):
        self._ready = threading.Event()
        self.process = lab.spawn(argv, where, name=argv[1].rsplit("/", 1)[-1],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(20):
            raise TimeoutError(f"{argv[1]} did not start")

    def _read(self):
        for line in self.process.stdout:
            self._line(json.loads(line))

    def _line(self, line):
        raise NotImplementedError

    def close(self):
        """Ends its input, so that it drains and exits."""
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)


class Call:
    """A call under way: `first` is set at a stream's first piece, `end` at its end."""

    def __init__(self, number):
        self.number = number
        self.first, self.end = Future(), Future()

    def result(self, timeout=60):
        return self.end.result(timeout)


class Sdk(LineProcess):
    """The OpenAI Node SDK as one tenant uses it."""
    script, path = "sdk.mjs", "/v1"

    def __init__(self, lab, key, family=4, where="client"):
        self._calls, self._lock, self._next = {}, threading.Lock(), 1
        super().__init__(lab, where, [lab.node, str(lab.clients / self.script),
                                      lab.base_url(family) + self.path, key])

    def _line(self, line):
        if line["event"] == "ready":
            self._ready.set()
            return
        call = self._calls[line["call"]]
        if line["event"] == "first":
            call.first.set_result(line["id"])
            return
        call.end.set_result(line)
        if not call.first.done():
            call.first.set_result(None)

    def _write(self, **line):
        with self._lock:
            self.process.stdin.write(json.dumps(line).encode() + b"\n")
            self.process.stdin.flush()

    def start(self, op="chat", params=None, retries=0, **body):
        """Start a call; body as raw_http.chat_body() takes it."""
        with self._lock:
            call = self._calls[self._next] = Call(self._next)
            self._next += 1
        self._write(call=call.number, op=op, params=params or chat_body(**body),
                    options={"maxRetries": retries})
        return call

    def call(self, op="chat", params=None, retries=0, **body):
        return self.start(op, params, retries, **body).result()

    def abort(self, call):
        self._write(call=call.number, op="abort")


class Anthropic(Sdk):
    """The Anthropic Node SDK, driven as the OpenAI one is."""
    script, path = "anthropic.mjs", ""


class Subscriber(LineProcess):
    """Every message on some subjects, from now on. messages: list of dicts."""

    def __init__(self, lab, *subjects):
        self.messages = []
        super().__init__(lab, "server", [lab.node, str(lab.clients / "subscribe.mjs"),
                                         lab.nats_url, "follow", *subjects])

    def _line(self, line):
        if line.get("ready"):
            self._ready.set()
        else:
            self.messages.append(check_message(line))

    def events(self, tenant=None):
        """Data of the usage events, each id once."""
        return usage_events(list(self.messages), tenant)


class Publisher(LineProcess):
    """Sends messages to JetStream, each until it is acknowledged."""

    def __init__(self, lab):
        self.answers = queue.Queue()
        super().__init__(lab, "server", [lab.node, str(lab.clients / "publish.mjs"),
                                         lab.nats_url])

    def _line(self, line):
        if line.get("ready"):
            self._ready.set()
        else:
            self.answers.put(line)

    def start(self, subject, data, msg_id=None):
        """Hand one over; data: an object, or the very text."""
        self.process.stdin.write(json.dumps({"subject": subject, "data": data,
                                             "msg_id": msg_id}).encode() + b"\n")
        self.process.stdin.flush()

    def wait(self, n=1):
        for _ in range(n):
            answer = self.answers.get(timeout=30)
            assert "seq" in answer, answer

    def send(self, subject, data, msg_id=None):
        self.start(subject, data, msg_id)
        self.wait()


def usage_events(messages, tenant=None):
    by_id = {m["event"]["id"]: m["event"] for m in messages if m["subject"].startswith("meter.v1.")}
    return [e["data"] for e in by_id.values() if tenant in (None, e["data"]["tenant"])]
