# SPDX-License-Identifier: Apache-2.0
"""Every limit at every level (bpf/limits.md, 1 to 5): a tenant's own, its parent's,
its parent's parent's, its scope's for a service. A refusal tells the figures of the
level that refused, and uses up nothing at any."""
import datetime
import time

import pytest
from limit_lab import EMBED, MINUTE_MS, LimitLab, document, duration_ms, slow, tenant
from weirlab import policy, wait_for

LEVELS = ("own", "parent", "top")
LIMITS = {
    "connections": {"connections": 3},
    "connect_rate": {"connect_rate": slow(3)},
    "concurrency": {"concurrency": 3},
    "requests": {"requests": slow(3)},
    "tokens": {"tokens": slow(20)},
}
LOOSE = {"connections": 1000, "connect_rate": slow(1000), "concurrency": 1000,
         "requests": slow(1000), "tokens": slow(100000)}


def chain(limit, level, n):
    """Three levels that all have every limit, of which one bites. Two leaves share it: `b` has
    another parent where the limit is the top's, and none of it where it is a's own."""
    at = f"{limit}-{level}"
    tight = LIMITS[limit]
    mid, top = f"{at}-mid", f"{at}-top"
    other = f"{at}-mid2" if level == "top" else mid
    made = (tenant(top, "loose", **(tight if level == "top" else {})),
            tenant(mid, "loose", top, **(tight if level == "parent" else {})),
            tenant(f"{at}-a", "loose", mid, [f"10.80.{n}.0/25"],
                   **(tight if level == "own" else {})),
            tenant(f"{at}-b", "loose", other, [f"10.80.{n}.128/25"]))
    return made if other == mid else (*made, tenant(other, "loose", top))


CHAINS = [(limit, level) for limit in LIMITS for level in LEVELS]
# What one service is held to, besides what holds for both.
SCOPED = {"concurrency": 4, "requests": slow(100), "services": {
    "embed": {"concurrency": 1, "requests": slow(4), "tokens": slow(1000), "connections": 3},
    "llm": {"requests": slow(50)}}}
POLICY = document(
    *(one for n, (limit, level) in enumerate(CHAINS) for one in chain(limit, level, n)),
    # Each level bites for a reason of its own; figures tell them apart.
    tenant("mixed-top", requests={"per_minute": 3, "burst": 5}),
    tenant("mixed-mid", "open", "mixed-top", requests={"per_minute": 2, "burst": 3}),
    tenant("mixed", "open", "mixed-mid", requests={"per_minute": 7, "burst": 9},
           concurrency=1),
    # The parent has five places, and later seven requests.
    tenant("race-mid", concurrency=5), tenant("race-mid2", requests=slow(7)),
    *(tenant(f"race-{n}", "open", "race-mid", requests=slow(50)) for n in "ab"),
    *(tenant(f"race2-{n}", "open", "race-mid2", concurrency=50) for n in "ab"),
    tenant("claude-top", requests={"per_minute": 1, "burst": 3}),
    tenant("claude-mid", "loose", "claude-top"), tenant("claude", "loose", "claude-mid"),
    tenant("scoped", "scoped"), tenant("scoped-twin", "scoped"),
    tenant("scoped-rest", "scoped", sources=["10.80.200.0/24"]),
    tenant("scoped-more", "scoped", services={"embed": {"concurrency": 2}}),
    tenant("quarter-top", tokens=slow(5000, cached_weight="0.5")),
    tenant("quarter-mid", "open", "quarter-top", tokens=slow(3000, cached_weight="0")),
    tenant("quarter", "open", "quarter-mid", tokens=slow(1000, cached_weight="0.25")),
    tenant("whole", tokens=slow(1000)),
    tenant("rich", credit="none"), tenant("payer", "open", "rich", credit="hard",
                                          reserve_output_tokens=10),
    tiers={"loose": LOOSE, "scoped": SCOPED})


@pytest.fixture(scope="module")
def lab():
    with LimitLab() as made:
        made.own("10.80.0.0/16")
        made.guard(POLICY, nats=False)
        yield made
        print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


def owner(limit, level):
    return f"{limit}-{level}-" + {"own": "a", "parent": "mid", "top": "top"}[level]


def levels_of(limit, level):
    return [f"{limit}-{level}-{which}" for which in ("a", "mid", "top")]


def sharers(limit, level):
    """Three leaves to charge in turn."""
    at = f"{limit}-{level}"
    return (f"{at}-a",) * 3 if level == "own" else (f"{at}-a", f"{at}-b", f"{at}-a")


def left(lab, limit, level):
    """What refusals must not change, at every level."""
    names = levels_of(limit, level) + [f"{limit}-{level}-b"]
    return {n: {k: lab.live(n)[k] for k in ("inflight", "requests_remaining", "tokens_remaining")}
            for n in names}


def told(lab, limit, level, reason=None):
    """`why` of the leaf names whose limit it was; the levels above were not refused anything."""
    at = f"{limit}-{level}"
    line = wait_for(lambda: next((r for r in lab.ctl("why", f"{at}-a")
                                  if r["reason"] == (reason or limit)), None), "the refusal")
    assert (line["limit_of"], line["shadow"]) == (owner(limit, level), False)
    assert lab.ctl("why", f"{at}-mid") == [] and lab.ctl("why", f"{at}-top") == []
    return line


def free_of(lab, limit, level):
    """A leaf that does not share the limit still gets on."""
    if level == "own":
        assert lab.ask(f"{limit}-{level}-b").status == 200


# ------------------------------------------------------------------ gauges

@pytest.mark.parametrize("level", LEVELS)
def test_concurrency(lab, level):
    limit = "concurrency"
    names = sharers(limit, level)
    held = [lab.hold(n) for n in names]
    assert all(held)
    assert lab.live(owner(limit, level))["inflight"] == 3
    before = left(lab, limit, level)
    for name in set(names):
        refused = lab.ask(name)
        assert refused.status == 429 and refused.limit == "concurrency"
        assert refused.figures() == [3, 3]  # in flight, limit
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["retry-after-ms"] == "1000"
    line = told(lab, limit, level)
    assert (line["limit"], line["value"], line["asked"]) == (3, 3, 1)
    free_of(lab, limit, level)
    if level != "own":
        assert left(lab, limit, level) == before
    held.pop().close()
    lab.gauge(owner(limit, level), "inflight", 2)
    assert lab.ask(names[1]).status == 200
    for one in held:
        one.close()
    for name in levels_of(limit, level):
        lab.gauge(name, "inflight", 0)


@pytest.mark.parametrize("level", LEVELS)
def test_connections_by_key(lab, level):
    """Connections of nobody's address become the key's with their first request."""
    limit = "connections"
    names = sharers(limit, level)
    held = [lab.hold(n) for n in names]
    assert all(held)
    for name in set(names):
        refused = lab.ask(name)
        assert refused.status == 429 and refused.limit == "connection"
        assert refused.figures() == [3, 3]
    line = told(lab, limit, level)
    assert (line["limit"], line["value"]) == (3, 3)
    free_of(lab, limit, level)
    lab.release(held)
    lab.gauge(owner(limit, level), "connections", 0)
    assert lab.ask(names[1]).status == 200
    for name in levels_of(limit, level):
        lab.gauge(name, "connections", 0)


def sources_of(limit, level):
    """Addresses of the leaves that share the limit, and one of the other's."""
    n = CHAINS.index((limit, level))
    a, b = f"10.80.{n}.1", f"10.80.{n}.129"
    return ((a, a, a), b) if level == "own" else ((a, b, a), None)


@pytest.mark.parametrize("level", LEVELS)
def test_connections_by_source(lab, level):
    limit = "connections"
    sources, other = sources_of(limit, level)
    held = [lab.connect(4, source) for source in sources]
    assert lab.live(owner(limit, level))["connections"] == 3
    for source in set(sources):
        with pytest.raises(ConnectionRefusedError):
            lab.connect(4, source)
    if other:
        lab.connect(4, other).close()
    held.pop().close()
    lab.gauge(owner(limit, level), "connections", 2)
    held.append(lab.connect(4, sources[1]))
    for sock in held:
        sock.close()
    for name in levels_of(limit, level):
        lab.gauge(name, "connections", 0)


@pytest.mark.parametrize("level", LEVELS)
def test_connect_rate(lab, level):
    """Three may come, by source or by key alike; a fourth waits a minute."""
    limit = "connect_rate"
    sources, other = sources_of(limit, level)
    for source in sources[:2]:
        lab.connect(4, source).close()
    assert lab.ask(f"{limit}-{level}-a").status == 200
    with pytest.raises(ConnectionRefusedError):
        lab.connect(4, sources[1])
    refused = lab.ask(f"{limit}-{level}-a")
    assert refused.status == 429 and refused.limit == "connection rate"
    assert 30_000 < int(refused.headers["retry-after-ms"]) <= MINUTE_MS
    told(lab, limit, level)
    if other:
        lab.connect(4, other).close()


# ----------------------------------------------------------------- buckets

def check_times(refused, unit_ms, wait_units, full_units, reset, first):
    """retry-after and reset, against the clock: the bucket began to fill when `first` was
    charged, at some time between its being asked for and its answer."""
    shortest = refused.asked_ms - first.had_ms
    longest = refused.had_ms - first.asked_ms
    wait = int(refused.headers["retry-after-ms"])
    assert wait_units * unit_ms - longest - 2 <= wait <= wait_units * unit_ms - shortest + 2
    assert int(refused.headers["retry-after"]) == min(60, -(-wait // 1000))
    full = duration_ms(refused.headers[reset])
    assert full_units * unit_ms - longest - 2 <= full
    assert full <= full_units * unit_ms - shortest + 1000  # told in whole seconds, rounded up


@pytest.mark.parametrize("level", LEVELS)
def test_requests(lab, level):
    limit = "requests"
    names = sharers(limit, level)
    answers = [lab.ask(n) for n in names]
    assert [a.status for a in answers] == [200] * 3
    before = left(lab, limit, level)
    for name in set(names):
        refused = lab.ask(name)
        assert refused.status == 429 and refused.limit == "request rate"
        assert refused.figures()[:2] == [1, 3]  # per minute, burst
        assert refused.headers["x-ratelimit-limit-requests"] == "1"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        check_times(refused, MINUTE_MS, 1, 3, "x-ratelimit-reset-requests", answers[0])
    line = told(lab, limit, level)
    assert (line["limit"], line["value"]) == (1, 3)
    free_of(lab, limit, level)
    if level != "own":
        assert left(lab, limit, level) == before
    assert lab.live(owner(limit, level))["requests_remaining"] == 0
    spare = 1000 - names.count(names[0])
    if level != "own":
        assert lab.live(names[0])["requests_remaining"] == spare


@pytest.mark.parametrize("level", LEVELS)
def test_tokens(lab, level):
    """Eleven tokens and eleven more, of a bucket of twenty: two to pay back."""
    limit = "tokens"
    names = sharers(limit, level)
    first = lab.ask(names[0], tokens=8)
    assert first.status == 200
    lab.gauge(owner(limit, level), "tokens_remaining", 9)
    first.had_ms += 1000  # it is charged once the agent has read the answer
    assert lab.ask(names[1], tokens=8).status == 200
    lab.gauge(owner(limit, level), "tokens_remaining", 0)
    lab.quiet(*names)
    before = left(lab, limit, level)
    for name in set(names):
        refused = lab.ask(name)
        assert refused.status == 429 and refused.limit == "token rate"
        assert refused.error["type"] == "tokens" and refused.figures()[:2] == [1, 20]
        assert refused.headers["x-ratelimit-limit-tokens"] == "1"
        assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
        check_times(refused, MINUTE_MS, 2, 22, "x-ratelimit-reset-tokens", first)
    line = told(lab, limit, level)
    assert (line["limit"], line["value"]) == (1, 20)
    free_of(lab, limit, level)
    if level != "own":
        assert left(lab, limit, level) == before


# ------------------------------------------------------------------ credit

def test_credit_is_the_tenants_own(lab):
    """Who pays is the tenant; a parent is no wallet."""
    refused = lab.ask("payer")
    assert refused.status == 429 and refused.error["code"] == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    line = lab.why("payer", "credit")
    assert line["limit_of"] == "payer" and line["limit"] == "0"
    lab.ctl("credit", "grant", "payer", "1")
    done = lab.ask("payer", tokens=10)
    assert done.status == 200
    lab.settled("payer", 1)
    lab.quiet("payer")
    price = policy.price("llama-3.3-70b-instruct", 3, 10)
    assert policy.nano(lab.live("payer")["balance"]) == policy.NANO - price
    assert lab.live("rich")["balance"] == "0"


# ------------------------------------------------------- several levels at once

def test_figures_are_those_of_the_level_that_refused(lab):
    first = lab.ask("mixed")
    for _ in range(2):
        assert lab.ask("mixed").status == 200
    refused = lab.ask("mixed")  # seven are left of its own, two of the top's
    assert refused.figures()[:2] == [2, 3]
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    check_times(refused, MINUTE_MS / 2, 1, 3, "x-ratelimit-reset-requests", first)
    assert lab.why("mixed", "requests")["limit_of"] == "mixed-mid"
    remaining = [lab.live(n)["requests_remaining"] for n in ("mixed", "mixed-mid", "mixed-top")]
    assert remaining == [6, 0, 2]


def test_figures_in_the_other_dialect(lab):
    """Anthropic's headers tell the reset as a time."""
    def ask():
        return lab.ask("claude", path="/v1/messages")
    before = time.time()
    assert [ask().status for _ in range(3)] == [200] * 3
    refused = ask()
    assert refused.status == 429 and refused.error["type"] == "rate_limit_error"
    assert refused.figures()[:2] == [1, 3]
    told = {k: refused.headers[f"anthropic-ratelimit-requests-{k}"]
            for k in ("limit", "remaining", "reset")}
    assert (told["limit"], told["remaining"]) == ("1", "0")
    reset = datetime.datetime.fromisoformat(told["reset"].replace("Z", "+00:00")).timestamp()
    assert before + 3 * 60 - 1 <= reset <= time.time() + 3 * 60 + 1
    assert lab.why("claude", "requests")["limit_of"] == "claude-top"


@pytest.mark.parametrize("who, parent, fits", (("race", "race-mid", 5),
                                               ("race2", "race-mid2", 7)))
def test_two_children_race_for_what_their_parent_has(lab, who, parent, fits):
    """Exactly that many are let in, and who is not uses up nothing of its own."""
    children = [f"{who}-a", f"{who}-b"]
    held = lab.at_once(children * 12)
    assert len(held) == fits == lab.live(parent)["inflight"]
    lives = [lab.live(n) for n in children]
    assert sum(live["inflight"] for live in lives) == fits
    if who == "race":
        assert sum(live["requests_remaining"] for live in lives) == 100 - fits
    lab.release(held)
    for name in (*children, parent):
        lab.gauge(name, "inflight", 0)
        lab.gauge(name, "connections", 0)


# ------------------------------------------------------------------ services

def test_a_scope_holds_for_its_service_only(lab):
    held = [lab.hold("scoped", EMBED), *(lab.hold("scoped") for _ in range(2))]
    assert all(held)
    refused = lab.ask("scoped", port=EMBED)
    assert refused.limit == "concurrency" and refused.figures() == [1, 1]
    assert lab.why("scoped", "concurrency")["limit_of"] == "scoped@embed"
    assert lab.hold("scoped-twin", EMBED).close() is None  # another's scope is another's
    held.append(lab.hold("scoped"))

    def own():  # the scope's one counts for the tenant as well
        refused = lab.ask("scoped")
        assert refused.limit == "concurrency" and refused.figures() == [4, 4]
        return lab.ctl("why", "scoped")[0]["limit_of"] == "scoped"
    wait_for(own, "the refusal to be told", every=0.1)  # of ten a second, one is
    for one in held:
        one.close()
    lab.gauge("scoped", "inflight", 0)


def scope(lab, name, service):
    levels = lab.ctl("tenant", "show", name)["levels"]
    return next(x for x in levels if (x["level"], x.get("service")) == ("scope", service))


def test_overrides_replace_one_service_and_leave_the_others(lab):
    held = [lab.hold("scoped-more", EMBED) for _ in range(3)]
    assert [bool(h) for h in held] == [True, True, False]
    assert lab.why("scoped-more", "concurrency")["limit_of"] == "scoped-more@embed"
    for one in held[:2]:
        one.close()
    lab.gauge("scoped-more", "inflight", 0)
    assert [lab.ask("scoped-more", port=EMBED).status for _ in range(4)] == [200] * 4
    assert lab.ask("scoped-more").status == 200
    assert scope(lab, "scoped-more", "llm")["requests_remaining"] == 49
    assert scope(lab, "scoped-more", "embed")["requests_remaining"] is None


def test_a_scopes_connections_and_tokens(lab):
    held = [lab.connect(4, "10.80.200.1", EMBED) for _ in range(3)]
    with pytest.raises(ConnectionRefusedError):
        lab.connect(4, "10.80.200.2", EMBED)
    held.append(lab.connect(4, "10.80.200.2"))
    for sock in held:
        sock.close()
    lab.gauge("scoped-rest", "connections", 0)

    def left():
        return scope(lab, "scoped-rest", "embed")["tokens_remaining"]
    before = left()
    assert lab.ask("scoped-rest", tokens=7, port=EMBED).status == 200
    wait_for(lambda: left() == before - 10, "settlement")
    assert lab.ask("scoped-rest", tokens=7).status == 200
    lab.settled("scoped-rest", 2)
    assert left() == before - 10


def test_scopes_are_no_tenants(lab):
    assert not [t for t in lab.ctl("tenant", "list") if "@" in t["tenant"]]
    assert not [u for u in lab.ctl("usage") if "@" in u["key"]]
    assert "@" not in lab.http("/metrics")[1]


# --------------------------------------------------------------- cached tokens

def test_cached_tokens_count_at_each_levels_own_weight(lab):
    """Forty words in, twenty of them cached, five out."""
    words = " ".join(["word"] * 40)
    full = {"quarter": 1000, "quarter-mid": 3000, "quarter-top": 5000}
    counted = {"quarter": 20 + 5 + 5, "quarter-mid": 20 + 5, "quarter-top": 20 + 10 + 5}
    for n in (1, 2):
        assert lab.ask("quarter", tokens=5, prompt=words, cached=20).status == 200
        for name, burst in full.items():
            lab.gauge(name, "tokens_remaining", burst - n * counted[name])
    assert lab.ask("whole", tokens=5, prompt=words, cached=20).status == 200
    lab.gauge("whole", "tokens_remaining", 1000 - 45)
    events = lab.settled("quarter", 2)
    assert [e["cache_read_tokens"] for e in events] == [20, 20]
