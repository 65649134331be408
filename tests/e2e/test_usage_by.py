# SPDX-License-Identifier: Apache-2.0
"""Usage by what it was for, and one request traced by any id that somebody has of it."""
import collections

from checks import wait_events
from weirlab import policy, wait_for
from weirlab.raw_http import chat_body, send

CHAT = "/v1/chat/completions"
TIERS = {"paid": {"credit": "soft", "overage_limit": "1000"}}
POLICY = policy.document(TIERS, {"acme": ("paid", "sk-acme"), "globex": ("paid", "sk-globex")})
COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens",
          "reasoning_tokens")
LABELS = ("user", "team", "feature", "cost_center", "session")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def ask(lab, key="sk-acme", body=None, path=CHAT, **labels):
    """One request with x-weir-* labels and other headers (their underscores are dashes)."""
    extra = []
    for name, value in labels.items():
        name = name.replace("_", "-")
        extra.append(f"{'x-weir-' + name if name.replace('-', '_') in LABELS else name}: {value}")
    with lab.connect() as sock:
        answer = send(sock, "POST", path, key, body or chat_body(5), extra)
        answer.body()
    return answer


def ns(time):
    """Of a time as the agent writes it, without trailing zeros, what can be compared."""
    whole, _, rest = time.removesuffix("Z").partition(".")
    return whole, rest.ljust(9, "0")


def work(lab):
    """Requests of all kinds; how many."""
    ask(lab, user="alice", team="search", feature="rag", cost_center="4711", session="s-1")
    ask(lab, user="alice", team="search", feature="chat", session="s-1", body=chat_body(7))
    ask(lab, user="bob", team="search", session="s-2", body=chat_body(9, cached=2))
    ask(lab, "sk-globex", user="alice", session="s-1")
    ask(lab, "sk-globex", body=chat_body(3, stream=True, include_usage=True))
    ask(lab, body=chat_body(4, stream=True))  # hides its usage
    ask(lab, path="/v1/nothing")  # 404
    ask(lab, "sk-globex", body={"model": "bge-m3", "input": "a b c"}, path="/v1/embeddings",
        feature="rag")
    return 8


def summed(events, key):
    """What usage --by must say, made of what the events say."""
    rows = collections.defaultdict(collections.Counter)
    for e in events:
        row = rows[key(e)]
        row["requests"] += 1
        row["estimated"] += e.get("usage_source") == "estimated"
        row["partial"] += e.get("usage_source") == "partial"
        row["unbilled"] += not e["billable"]
        row["price"] += policy.nano(e["price"])
        row["cost"] += policy.nano(e["cost"])
        for name in COUNTS:
            row[name] += e.get(name, 0)
    return rows


def shown(rows, key=lambda row: row["key"]):
    made = {}
    for row in rows:
        assert key(row) not in made
        made[key(row)] = collections.Counter(
            {n: policy.nano(row[n]) if n in ("price", "cost") else row[n]
             for n in ("requests", "estimated", "partial", "unbilled", "price", "cost", *COUNTS)})
    return made


def test_lines_of_any_key_are_what_the_events_add_up_to(lab):
    lab.start_agent(POLICY, nats=False)
    events = wait_events(lab, work(lab))
    assert sum(e.get("usage_source") == "estimated" for e in events) >= 1
    by = {label: lambda e, label=label: e.get(label) for label in LABELS[:4]}
    by |= {"tenant": lambda e: e["tenant"], "model": lambda e: e.get("model"),
           "day": lambda e: e["started_at"][:10],
           "hour": lambda e: e["started_at"][:13] + ":00:00Z"}
    for key, of in by.items():
        extra = ("--since", "2020-01-01") if key == "tenant" else ()
        assert shown(lab.ctl("usage", "--by", key, *extra)) == summed(events, of), key
    own = [e for e in events if e["tenant"] == "acme"]
    assert shown(lab.ctl("usage", "acme", "--by", "user")) == summed(own, by["user"])
    # A session is of a tenant, and one line.
    sessions = lab.ctl("usage", "--by", "session")
    assert shown(sessions, lambda row: (row["key"], row["tenant"])) == summed(
        events, lambda e: (e.get("session"), e["tenant"] if "session" in e else None))
    mine = [e for e in events if e.get("session") == "s-1" and e["tenant"] == "acme"]
    (line,) = [r for r in sessions if (r["key"], r["tenant"]) == ("s-1", "acme")]
    assert line["requests"] == 2 and line["first"] == mine[0]["started_at"]
    assert ns(line["first"]) < ns(mine[1]["started_at"]) < ns(line["last"])
    # The projection says the same, at once.
    assert {k: v["requests"] for k, v in shown(lab.ctl("usage", "--by", "tenant", "--since",
                                                       "2020-01-01")).items()} == {
        r["key"]: r["requests"] for r in lab.ctl("usage")}
    # Windows are by the start; what is refunded is with what it refunds.
    last = events[-1]
    lab.ctl("credit", "refund", mine[0]["request_id"], "--reason", "test")
    assert lab.ctl("usage", "--by", "day", "--until", "2020-01-02", "--since", "2020-01-01") == []
    window = lab.ctl("usage", "--by", "user", "--since", last["started_at"])
    assert sum(r["requests"] for r in window) == 1
    users = {r["key"]: r for r in lab.ctl("usage", "--by", "user")}
    assert users["alice"]["refunded"] == mine[0]["price"] and users["bob"]["refunded"] == "0"
    assert lab.ctl("usage", "acme")[0]["refunded"] == mine[0]["price"]
    text = lab.weirctl("usage", "--by", "cost_center").stdout
    assert "this month, UTC" in text and "COST CENTER" in text
    assert [line.split()[0] for line in text.splitlines()[3:]] == ["4711", "-", "total"]


def test_a_request_is_traced_by_any_of_its_ids(lab):
    """NATS is configured, but away at first."""
    lab.start_agent(POLICY, nats=True)
    lab.ctl("credit", "grant", "acme", "10")
    span = "-00f067aa0ba902b7-01"
    ask(lab, user="alice", traceparent=f"00-{TRACE}{span}", x_request_id="req-1")
    ask(lab, "sk-globex", traceparent=f"00-{TRACE}{span}", x_request_id="req-2")
    ask(lab)
    events = wait_events(lab, 3)
    first = events[0]
    ids = {"request_id": first["request_id"], "response_id": first["response_id"],
           "client_request_id": "req-1", "ledger_seq": f"#{first['ledger_seq']}"}
    for name, value in ids.items():
        (item,) = lab.ctl("trace", value)
        assert item["matched"] == name and item["event"]["data"] == first
    (item,) = lab.ctl("trace", "req-1")
    entries = lab.ctl_lines("ledger", "acme")
    assert item["entry"] == next(e for e in entries if e["seq"] == first["ledger_seq"])
    request = item["request"]
    assert (request["method"], request["path"], request["end"]) == ("POST", CHAT, "complete")
    assert request["client"] == "10.77.0.1"
    assert request["admitted"] == first["started_at"]
    assert ns(request["admitted"]) < ns(request["first_byte"]) <= ns(request["ended"])
    assert item["nats"]["state"] == "behind" and not item["nats"]["connected"]
    assert item["nats"]["behind"] == first["ledger_seq"] - item["nats"]["acknowledged_seq"]
    assert (item["refunded"], item["refunds"]) == ("0", [])
    # All that a trace asked for, whoever asked, the newest first.
    for trace in (TRACE, f"00-{TRACE}{span}"):
        both = lab.ctl("trace", trace)
        assert [i["event"]["data"]["client_request_id"] for i in both] == ["req-2", "req-1"]
        assert {i["matched"] for i in both} == {"trace_id"}
    gone = lab.weirctl("trace", "req-3", check=False)
    assert gone.returncode == 1 and "req-3" in gone.stderr
    assert lab.weirctl("trace", "req-1", "--since", "2099-01-01", check=False).returncode == 1
    lab.ctl("credit", "refund", first["request_id"], "--amount", "0.0001", "--reason", "sorry")
    lab.start_nats()
    wait_for(lambda: lab.ctl("trace", "req-1")[0]["nats"]["state"] == "acknowledged",
             "the event to be acknowledged", 20)
    published = {m["event"]["id"]: m for m in lab.stream()}
    (item,) = lab.ctl("trace", "req-1")
    message = published[item["event"]["id"]]
    assert message["subject"] == item["nats"]["subject"]
    assert message["event"] == item["event"]
    assert item["nats"]["behind"] == 0
    assert item["refunded"] == "0.0001"
    (refund,) = item["refunds"]
    assert (refund["amount"], refund["reason"], refund["actor"]) == ("0.0001", "sorry", "root")
    text = lab.weirctl("trace", "req-1").stdout
    for word in (first["request_id"], "alice", TRACE, "admitted, from 10.77.0.1", "first byte",
                 item["entry"]["hash"], "NATS has acknowledged it", '"sorry"', "as the server"):
        assert word in " ".join(text.split()), (word, text)
    assert max(map(len, text.splitlines())) <= 80
