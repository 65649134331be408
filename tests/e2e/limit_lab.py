# SPDX-License-Identifier: Apache-2.0
"""What the tests of limits share: a laboratory with two guarded services and any
number of client addresses, requests of which all that is told of a refusal is
kept, and a policy of which each test changes what is its own."""
import copy
import json
import re
import signal
import threading
import time
from dataclasses import dataclass, field

from checks import events_of
from weirlab import Lab, LabError, policy, wait_for
from weirlab.lab import CLIENT4, PORT
from weirlab.raw_http import chat_body, send

CHAT = "/v1/chat/completions"
EMBED = PORT + 1
SERVICES = [{"name": "llm", "port": PORT, "api": "openai"},
            {"name": "embed", "port": EMBED, "api": "openai"}]
MINUTE_MS = 60_000
BYTES_PER_TOKEN = 4  # of a JSON body, as the kernel takes it


def tenant(name, tier="open", parent=None, sources=(), **overrides):
    """A tenant with one key, sk-NAME."""
    made = {"tier": tier, "keys": [policy.hash_key(f"sk-{name}")]}
    if parent:
        made["parent"] = parent
    if sources:
        made["sources"] = list(sources)
    if overrides:
        made["overrides"] = overrides
    return {name: made}


def slow(burst, **more):
    """A rate that in the time of a test gives nothing back."""
    return {"per_minute": 1, "burst": burst, **more}


def document(*tenants, tiers=None, **rest):
    together = {}
    for one in tenants:
        assert not together.keys() & one.keys()
        together.update(one)
    return policy.document({"open": {}, **(tiers or {})}, together, **rest)


def input_tokens(tokens=2, stream=True, **how):
    """The kernel's estimate of a chat request's input."""
    body = chat_body(tokens, stream=stream, include_usage=stream, **how)
    return len(json.dumps(body)) // BYTES_PER_TOKEN


def reservation(output_tokens, *args, **how):
    """What a chat request reserves, in nano-credits, where `output_tokens` are set aside, at the
    highest prices of the card."""
    price = policy.CARD["models"][0]["price"]
    total = (input_tokens(*args, **how) * policy.nano(price["input"]) +
             output_tokens * policy.nano(price["output"]))
    assert total % price["per"] == 0
    return total // price["per"]


@dataclass
class Asked:
    """An answer, and when (ms) it was asked for and had."""
    status: int
    headers: dict
    body: bytes
    asked_ms: float
    had_ms: float

    @property
    def error(self):
        return json.loads(self.body)["error"]

    @property
    def message(self):
        return self.error["message"]

    @property
    def limit(self):
        """The name of the limit that refused, as its message has it; None: not refused."""
        if self.status == 200:
            return None
        return self.message.split(" limit", 1)[0].lower()

    def figures(self):
        return [int(n) for n in re.findall(r"\b\d+\b", self.message.split(". ")[0])]


def duration_ms(text):
    """1m15s, 7s or 12ms, as the x-ratelimit-reset headers have it."""
    total = 0
    for number, unit in re.findall(r"(\d+)(h|ms|m|s)", text):
        total += int(number) * {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}[unit]
    return total


@dataclass
class Held:
    """A stream that has begun and goes no further."""
    sock: object
    answer: object
    status: int = field(init=False)

    def __post_init__(self):
        self.status = self.answer.status

    def close(self):
        self.sock.close()


class LimitLab(Lab):
    def __enter__(self):
        super().__enter__()
        try:
            self.start_server((PORT, EMBED))
        except BaseException:
            self.close()
            raise
        return self

    def own(self, *prefixes):
        """Every address of these is one of the client's."""
        for prefix in prefixes:
            self.ip(self.client_ns, "route", "add", "local", prefix, "dev", "lo")
            self.ip(self.server_ns, "route", "add", prefix, "via", CLIENT4)

    # ------------------------------------------------------------------ policy

    def guard(self, policy_document, **fields):
        self.document = copy.deepcopy(policy_document)
        fields.setdefault("services", SERVICES)
        self.start_agent(self.document, **fields)

    def apply(self, how="apply"):
        """Put self.document in force, as an operator does."""
        folder = self.write_policy(self.document)
        if how == "apply":
            self.weirctl("policy", "apply", folder)
            return
        self.agent.send_signal(signal.SIGHUP)
        wait_for(lambda: self.ctl("policy", "show")["tenants"] == self.document["tenants"],
                 "the policy to be read again")

    def change(self, name, how="apply", parent=..., **overrides):
        """Overrides of one tenant, in place of those it had; or its parent."""
        self.document["tenants"][name]["overrides"] = overrides
        if parent is not ...:
            self.document["tenants"][name]["parent"] = parent
        self.apply(how)

    # ---------------------------------------------------------------- requests

    def ask(self, name, tokens=1, port=PORT, source=None, prompt="one two three", key=None,
            path=CHAT, **how):
        """One request on a connection of its own, with the key of `name`, or another."""
        asked = time.monotonic() * 1000
        with self.connect(4, source, port) as sock:
            answer = send(sock, "POST", path, key or f"sk-{name}",
                          chat_body(tokens, prompt, **how))
            body = answer.body()
        return Asked(answer.status, answer.headers, body, asked, time.monotonic() * 1000)

    def hold(self, name, port=PORT, source=None, tokens=2, **how):
        """A stream that has begun; None: refused."""
        sock = self.connect(4, source, port)
        answer = send(sock, "POST", CHAT, f"sk-{name}",
                      chat_body(tokens, stream=True, include_usage=True, hold=1, **how))
        if answer.status != 200:
            sock.close()
            return None
        return Held(sock, answer)

    def hold_all(self, name, n=20, **how):
        """As many of n as are let in."""
        return [h for h in (self.hold(name, **how) for _ in range(n)) if h]

    def at_once(self, names, **how):
        """One stream for each of these, all asked for in the same moment: those let in."""
        barrier, held = threading.Barrier(len(names)), []

        def one(name):
            barrier.wait()
            if stream := self.hold(name, **how):
                held.append(stream)
        threads = [threading.Thread(target=one, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return held

    def release(self, held):
        """These streams, which are all there are, go on to their end."""
        self.admin("release")
        for one in held:
            assert one.answer.body().endswith(b"[DONE]\n\n")
            one.close()
        self.admin("rearm")

    # ------------------------------------------------------------------ state

    def live(self, name):
        return self.ctl("tenant", "show", name)["live"]

    def gauge(self, name, what, value, seconds=10):
        """Wait until a live figure has that value."""
        try:
            wait_for(lambda: self.live(name)[what] == value, "", seconds, every=0.05)
        except LabError:
            raise LabError(f"{what} of {name} is {self.live(name)[what]}, not {value}") from None

    def quiet(self, *names):
        """Nothing is open, in flight or reserved any more."""
        def still():
            for name in names:
                live = self.live(name)
                if live["connections"] or live["inflight"] or live["reserved"] != "0":
                    return False
            return True
        wait_for(still, f"all of {', '.join(names)} to come back")

    def why(self, name, reason):
        """The last refusal for that reason, when the agent has heard of it."""
        def heard():
            return next((r for r in self.ctl("why", name) if r["reason"] == reason), None)
        return wait_for(heard, f"a refusal of {name}: {reason}", every=0.05)

    def verdict(self, name):
        return self.ctl("status")["verdicts"].get(name, 0)

    def settled(self, name, n):
        """Usage events of a tenant once there are n."""
        def enough():
            events = events_of(self, name)
            return events if len(events) >= n else None
        events = wait_for(enough, f"{n} events of {name}", every=0.05)
        assert len(events) == n
        return events
