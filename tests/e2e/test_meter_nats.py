# SPDX-License-Identifier: Apache-2.0
"""Usage that others report over NATS: entered once, at the card's price, whatever dies."""
from checks import events_of
from weirlab import policy, wait_for
from weirlab.clients import Publisher

CARD = {"name": "list", "version": "2026-11", "effective_from": "2026-11-01T00:00:00Z",
        "models": [{"meter": "storage_gb", "price": {"unit": "0.02"}, "cost": {"unit": "0.005"}},
                   {"meter": "gpu_seconds", "match": "h100*", "price": {"unit": "2", "per": 3600}},
                   {"match": "*", "price": {"input": "1", "output": "1", "per": 1000}}]}
POLICY = policy.document({"paid": {"credit": "soft", "overage_limit": "1000"}},
                         {"acme": ("paid", "sk-acme"), "globex": ("paid", "sk-globex")},
                         cards=[CARD])


def start(lab):
    lab.start_agent(POLICY, nats={"usage_subject": "usage.v1.>"})
    usage = wait_for(lambda: state(lab)["ready"] and state(lab), "USAGE to be taken from", 20)
    assert usage["entered"] == 0
    return Publisher(lab)


def state(lab):
    return lab.ctl("status")["nats"]["usage"]


def report(n, quantity="1", dimension="storage_gb", **more):
    return {"id": f"r-{n}", "dimension": dimension, "quantity": quantity, **more}


def entered(lab, n, tenant="acme", seconds=30):
    """The events of reported usage, once there are n of them."""
    def enough():
        events = [e for e in events_of(lab, tenant) if "dimension" in e]
        return events if len(events) >= n else None
    return wait_for(enough, f"{n} reports in the ledger", seconds, every=0.05)


def balance(lab, tenant):
    return policy.nano(lab.ctl("credit", "balance", tenant)["balance"])


def test_reports_are_priced_by_the_card_and_paid_by_the_wallet(lab_nats):
    lab = lab_nats
    sender = start(lab)
    lab.ctl("credit", "grant", "acme", "10")
    sender.send("usage.v1.acme", report(1, "1.5", at="2026-11-02T00:00:00Z", feature="search"))
    sender.send("usage.v1.acme.eu", report(2, "90", "gpu_seconds", model="h100-sxm"))
    sender.send("usage.v1.globex", report(3, "0.000000001"))
    first, second = entered(lab, 2)
    assert (first["usage_id"], first["quantity"], first["feature"]) == ("r-1", "1.5", "search")
    assert first["started_at"] == "2026-11-02T00:00:00Z"
    assert (first["price"], first["cost"]) == ("0.03", "0.0075")
    assert first["lines"][0]["unit_price"] == "0.02" and first["rate_card"]["name"] == "list"
    # 90 s of 2 credits an hour
    assert (second["price"], second["model"]) == ("0.05", "h100-sxm")
    assert balance(lab, "acme") == policy.nano("9.92")
    # 0.02 nano-credits: rounded to none, and entered all the same
    assert entered(lab, 1, "globex")[0]["price"] == "0"
    published = wait_for(lambda: len(lab.stream()) == 3 and lab.stream(), "events on METER")
    assert {m["event"]["data"]["usage_id"] for m in published} == {"r-1", "r-2", "r-3"}
    wait_for(lambda: state(lab)["waiting"] == 0, "the queue to be empty", 20)
    sender.close()


def test_the_same_id_is_entered_once_whichever_way_it_comes(lab_nats):
    lab = lab_nats
    sender = start(lab)
    for _ in range(3):
        sender.send("usage.v1.acme", report(1, "5"))
    sender.send("usage.v1.acme", report(2))
    assert len(entered(lab, 2)) == 2
    wait_for(lambda: state(lab)["repeated"] == 2, "repetitions")
    assert lab.ctl("meter", "add", "acme", "storage_gb", "5", "--id", "r-1")["repeated"]
    assert balance(lab, "acme") == -policy.nano("0.12")
    sender.close()


def test_bad_reports_are_told_with_the_reason_and_lose_nothing(lab_nats):
    lab = lab_nats
    sender = start(lab)
    bad = [("usage.v1.acme", "{", "line 1"),
           ("usage.v1.acme", report(1, "-1"), "quantity"),
           ("usage.v1.acme", report(2, "1e9"), "quantity"),
           ("usage.v1.acmee", report(3), 'did you mean "acme"'),
           ("usage.v1.acme", report(4, at="2126-01-01T00:00:00Z"), "future"),
           ("usage.v1.acme", report(5, tenant="globex"), "its subject"),
           ("usage.v1.acme", report(6, price="0"), "price")]
    for subject, data, _ in bad:
        sender.send(subject, data)
    sender.send("usage.v1.acme", report(7))
    assert [e["usage_id"] for e in entered(lab, 1)] == ["r-7"]
    wait_for(lambda: state(lab)["refused"] == len(bad), "refusals to be counted")
    told = lab.stream("USAGE_REFUSED")
    assert len(told) == len(bad)
    for (subject, data, why), message in zip(bad, told):
        event = message["event"]
        assert event["type"] == "weir.usage_refused.v1"
        assert message["subject"] == subject.replace("usage.", "usage_refused.") + ".lab"
        assert why in event["data"]["reason"], event["data"]["reason"]
        assert event["data"]["message"].startswith("{")
    assert any("7 reports of usage refused" in w for w in lab.ctl("status")["warnings"])
    # Put right, and sent again with the same id.
    sender.send("usage.v1.acme", report(1, "1"))
    assert len(entered(lab, 2)) == 2
    sender.close()


def test_no_report_is_lost_or_doubled_by_kill_9(lab_nats):
    """The agent dies while reports come in, then nats-server does."""
    lab = lab_nats
    sender = start(lab)
    sent = 0
    for round_ in range(2):
        for _ in range(150):
            sender.start("usage.v1.acme", report(sent))
            sent += 1
        entered(lab, sent - 140)  # in the middle of it
        if round_ % 2:
            lab.nats.kill()
            lab.nats.wait()
            lab.start_nats()
        else:
            lab.kill_agent()
            lab.start_agent()
    sender.wait(sent)
    wait_for(lambda: len(entered(lab, sent)) == sent, "all reports", 40)
    wait_for(lambda: state(lab)["waiting"] == 0, "the queue to be empty", 40)
    events = entered(lab, sent)
    assert sorted(int(e["usage_id"][2:]) for e in events) == list(range(sent))
    assert balance(lab, "acme") == -sent * policy.nano("0.02")
    sender.close()
