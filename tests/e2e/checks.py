# SPDX-License-Identifier: Apache-2.0
"""Comparisons of what was metered with what the model server says it served."""
from weirlab import policy, wait_for
from weirlab.contract import check_event


def events_of(lab, tenant=None):
    """Data of the usage events that `weirctl events` shows, oldest first."""
    args = ["events"] + (["--tenant", tenant] if tenant else [])
    return [e["data"] for e in map(check_event, lab.ctl_lines(*args))
            if e["type"] == "weir.usage.v1"]


def wait_events(lab, n, tenant=None, seconds=10):
    """The events, once there are n of them; more are a failure."""
    def enough():
        events = events_of(lab, tenant)
        return events if len(events) >= n else None
    events = wait_for(enough, f"{n} events", seconds, every=0.05)
    assert len(events) == n
    return events


def total_input(event):
    return event["input_tokens"] + event.get("cache_read_tokens", 0)


def assert_metered(events, served):
    """One event per record, by response id: same model, counts, price."""
    by_id = {e["response_id"]: e for e in events}
    assert len(by_id) == len(events), "an answer was metered twice"
    assert set(by_id) == {r["id"] for r in served}
    for record in served:
        event = by_id[record["id"]]
        got = (event["model"], total_input(event), event.get("output_tokens", 0),
               event.get("cache_read_tokens", 0), event["stream"], policy.nano(event["price"]))
        want = (record["model"], record["prompt"], record["completion"], record["cached"],
                record["stream"], policy.price(record["model"], record["prompt"],
                                               record["completion"], record["cached"]))
        assert got == want, record


def totals(events):
    return {"requests": len(events), "input": sum(total_input(e) for e in events),
            "output": sum(e.get("output_tokens", 0) for e in events),
            "price": sum(policy.nano(e["price"]) for e in events)}
