# SPDX-License-Identifier: Apache-2.0
"""What is to go wrong, and when: drawn from the seed alone, before anything starts. The same seed
and number of kills give the same plan; how the load falls in between is the machine's."""
import collections
import random

KILLS_A_PHASE = 20

# What a kill can be, and how often beside the others.
KILLS = {"kill-agent": 10, "kill-nats": 6, "kill-both": 4, "disk-torn": 2}
# What each phase has besides: how many, at least and at most.
OTHERS = {"restart": (1, 2), "stop": (0, 1), "nats-stop": (0, 1), "nats-away": (1, 2),
          "clock": (1, 2), "disk-full": (1, 2), "disk-eio": (1, 2), "disk-fsync": (1, 2),
          "grant": (6, 10)}
DISK = ("disk-full", "disk-eio", "disk-fsync", "disk-torn")
HOUR_MS = 3_600_000
IN_A_WRONG_HOUR = "nothing", "kill-agent", "term-agent", "kill-nats"


class Event:
    """One thing that happens, `after_ms` of load after the one before. how: by kind (node.py)."""

    def __init__(self, kind, after_ms, **how):
        self.kind, self.after_ms, self.how = kind, after_ms, how

    @property
    def kills(self):
        """Processes that it kills, by what they are."""
        n = collections.Counter()
        n["agent"] = {"kill-agent": 1 + len(self.how.get("again", ())), "kill-both": 1,
                      "disk-torn": 1}.get(self.kind, int(bool(self.how.get("kill"))))
        inside = self.how.get("inside", ())
        n["agent"] += inside == "kill-agent" or (self.kind == "nats-away" and len(inside))
        n["nats"] = (self.kind in ("kill-nats", "kill-both", "nats-away")) + (inside == "kill-nats")
        return +n

    def __str__(self):
        how = " ".join(f"{k}={v}" for k, v in self.how.items())
        return f"+{self.after_ms} {self.kind} {how}".rstrip()


class Plan:
    """phases: lists of events. without: kinds to leave out."""

    def __init__(self, seed, kills, tenants, without=()):
        self._draw = random.Random(f"{seed}/{kills}")
        self._serial = 0
        self._poor = tenants
        self.seed = seed
        self._without = set(without)
        n_phases = max(1, round(kills / KILLS_A_PHASE))
        shares = [kills // n_phases + (i < kills % n_phases) for i in range(n_phases)]
        self.phases = [self._phase(share) for share in shares]
        # At last, with a ring that is too small: who reads it is away for so many ms.
        self.overflow = [] if "overflow" in self._without else [
            (self._draw.choice(("SIGSTOP", "SIGKILL")), self._log(300, 3000))
            for _ in range(min(4, 1 + kills // 25))]
        # Then the power fails, so many ms after the load began; seed: of what is torn, 0: nothing.
        self.power = [] if "power" in self._without else [
            (self._log(500, 5000), self._draw.choice((0, self._draw.randint(1, 9999))))
            for _ in range(min(3, kills // 25))]

    def _phase(self, kills):
        kinds = [k for k in KILLS if k not in self._without]
        events, left = [], kills
        for kind, (least, most) in OTHERS.items():
            if kind not in self._without:
                scale = min(1, kills / KILLS_A_PHASE)
                n = round(self._draw.randint(least, most) * scale) or min(least, 1)
                events += [self._event(kind, left) for _ in range(n)]
        left -= sum(sum(e.kills.values()) for e in events)
        while left > 0:
            event = self._event(self._draw.choices(kinds, [KILLS[k] for k in kinds])[0], left)
            left -= sum(event.kills.values())
            events.append(event)
        self._draw.shuffle(events)
        return events

    def _log(self, least, most):
        """Drawn so that short ones are as likely as long ones: what breaks is often early."""
        return round(least * (most / least) ** self._draw.random())

    def _event(self, kind, left):
        draw, ms = self._draw, self._log
        return Event(kind, ms(20, 900), **{
            "kill-agent": lambda: {"down": ms(5, 700), "again": [
                ms(1, 400) for _ in range(draw.choice((0, 0, 0, 1, 2)) if left > 2 else 0)]},
            "kill-nats": lambda: {"down": ms(5, 900)},
            "kill-both": lambda: {"first": draw.choice(("agent", "nats")), "between": ms(1, 300),
                                  "down": ms(5, 500), "back": draw.choice(("agent", "nats"))},
            "restart": lambda: {"down": ms(5, 500)},
            "stop": lambda: {"for": ms(50, 2000)},
            "nats-stop": lambda: {"for": ms(500, 6000), "kill": draw.choice((False, True))},
            "nats-away": lambda: {"for": draw.randint(3000, 5000),
                                  "inside": [ms(5, 1000) for _ in range(draw.randint(0, 2))]},
            "clock": lambda: {"by": draw.choice((-HOUR_MS, HOUR_MS)),
                              "for": draw.randint(800, 3000),
                              "inside": draw.choice(IN_A_WRONG_HOUR)},
            "grant": self._grant,
            "disk-torn": lambda: {"skip": draw.randint(0, 12), "seed": draw.randint(1, 9999),
                                  "down": ms(5, 300)},
        }.get(kind, lambda: {"for": ms(150, 4500), "skip": draw.randint(0, 8),
                             "kill": draw.choice((False, False, True))})())

    def _grant(self):
        self._serial += 1
        return {"tenant": self._draw.choice(self._poor), "amount": self._draw.randint(1, 5),
                "id": f"chaos-{self._serial}", "twice": self._draw.choice((False, True))}

    @property
    def ms(self):
        """How long it takes, but for the agent's starts."""
        return sum(e.after_ms + sum(e.how.get(k, 0) for k in ("for", "down", "between"))
                   for phase in self.phases for e in phase) + sum(n for _, n in self.overflow)

    def __str__(self):
        lines = []
        for n, phase in enumerate(self.phases, 1):
            lines.append(f"phase {n}: " + "; ".join(map(str, phase)))
        if self.overflow:
            lines.append("overflow: " + "; ".join(f"{how} for={ms}" for how, ms in self.overflow))
        if self.power:
            lines.append("power: " + "; ".join(f"after={ms} torn={n}" for ms, n in self.power))
        return "\n".join(lines)
