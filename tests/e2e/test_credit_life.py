# SPDX-License-Identifier: Apache-2.0
"""The whole life of credit on a running agent: sold, used, refunded, voided, expired; each
figure recomputed from the ledger. And writes whose agent is killed under them."""
import json
import pathlib
import socket
import subprocess
from fractions import Fraction

import pytest
from checks import wait_events
from weirlab import Lab, policy, wait_for
from weirlab.lab import BUILD
from weirlab.raw_http import chat_body, send

NANO = policy.NANO
# The first 100 tokens of a month at 0.5 a thousand, all others at 0.4; a tenth off for "paid".
STEPS = {"name": "list", "version": "2026-11", "effective_from": "2026-11-01T00:00:00Z",
         "discounts": {"paid": "0.1"},
         "models": [{"match": "llama-3.3-70b*", "price": {
             "input": "0", "per": 1000,
             "output": {"mode": "graduated", "steps": [{"up_to": 100, "price": "0.5"},
                                                       {"price": "0.4"}]}}}]}
SHOP = policy.document(
    {"paid": {"credit": "hard", "reserve_output_tokens": 10}},
    {**{name: ("paid", f"sk-{name}") for name in
        ("acme", "promo", "plan", "shop", "org", "many", "killed", "unread")},
     "team": {"tier": "paid", "wallet": "org", "keys": [policy.hash_key("sk-team")]}},
    cards=[STEPS],
    packs={"p50": {"amount": "50", "price": "50", "currency": "USD"},
           "p200": {"amount": "200", "price": "190", "currency": "USD", "expires_days": 90},
           "p500": {"amount": "500", "bonus": "25.5", "price": "450", "currency": "USD",
                    "expires_days": 365}})


@pytest.fixture(scope="module")
def lab():
    """One agent, and a tenant for each test."""
    with Lab() as made:
        made.start_server()
        made.start_agent(SHOP)
        yield made
    assert made.leftovers() == []


def balance(lab, tenant):
    return lab.ctl("credit", "balance", tenant)


def nano(lab, tenant):
    return policy.nano(balance(lab, tenant)["balance"])


def entries(lab, tenant):
    return lab.ctl_lines("ledger", tenant)


def verified(lab):
    """Nothing in the ledger contradicts anything."""
    said = lab.ctl("ledger", "verify")
    assert said["ok"], said
    return said


def ask(lab, tokens, key):
    with lab.connect() as sock:
        answer = send(sock, "POST", "/v1/chat/completions", key, chat_body(tokens))
        assert answer.status == 200
        answer.body()


def assert_adds_up(listed):
    """Each entry goes on where the one before it ended, and moved what it says."""
    at = 0
    for e in listed:
        moved = sum(policy.nano(m["amount"]) * {"remaining": 1, "debt": -1}.get(m["purse"], 0)
                    for m in e.get("moves", []))
        if e["kind"] == "usage":
            moved = -sum(policy.nano(b["amount"]) for b in e["burn"] if not b.get("expired"))
            moved -= policy.nano(e.get("debt", "0"))
        assert policy.nano(e["balance_before"]) == at, e
        at += moved
        assert policy.nano(e["balance_after"]) == at, e
    return at


def recomputed(entry):
    """The price that the lines come to, rounded once."""
    total = sum(Fraction(line["quantity"]) * Fraction(line["unit_price"]) / line["per"]
                for line in entry["lines"])
    return policy.half_even(total * Fraction(entry["rate_card"].get("factor", "1")) * NANO)


def test_packs_are_sold_used_refunded_and_voided(lab):
    sold = [lab.ctl("credit", "sell", "acme", pack, "--id", pack) for pack in
            ("p50", "p200", "p500")]
    assert [s["price"] for s in sold] == ["50", "190", "450"]
    assert [s["balance"] for s in sold] == ["50", "250", "775.5"]
    assert lab.ctl("credit", "sell", "acme", "p500", "--id", "p500")["repeated"] is True
    shown = balance(lab, "acme")
    # Soonest to expire first, promotional before paid, what never expires last.
    assert [(g["amount"], g["source"]) for g in shown["grants"]] == [
        ("200", "paid"), ("25.5", "promo"), ("500", "paid"), ("50", "paid")]

    for tokens in (60, 60):
        ask(lab, tokens, "sk-acme")
    wait_events(lab, 2, "acme")
    usage = [e for e in entries(lab, "acme") if e["kind"] == "usage"]
    # 60 at 0.5; then 40 at 0.5 and 20 at 0.4: a tenth off.
    assert [e["amount"] for e in usage] == ["-0.027", "-0.0252"]
    assert [line["position"] for line in usage[1]["lines"] if line["dimension"] == "output"] == [
        60, 100]
    for e in usage:
        assert recomputed(e) == -policy.nano(e["amount"])
        assert e["burn"] == [{"grant_seq": sold[1]["seq"], "amount": e["amount"][1:]}]

    part = lab.ctl("credit", "refund", usage[1]["event_id"], "--amount", "0.0052")
    rest = lab.ctl("credit", "refund", f"#{usage[1]['seq']}", "--reason", "bad answer")
    assert (part["amount"], rest["amount"]) == ("0.0052", "0.02")
    again = lab.weirctl("credit", "refund", usage[1]["event_id"], check=False)
    assert again.returncode == 1 and "not so much left" in again.stderr
    assert nano(lab, "acme") == policy.nano("775.473")
    voided = lab.ctl("credit", "void", "p200", "--reason", "charged back")
    assert voided["amount"] == "199.973"
    shown = balance(lab, "acme")
    (gone,) = [g for g in shown["grants"] if g["voided"]]
    assert (gone["seq"], gone["remaining"], shown["balance"]) == (sold[1]["seq"], "0", "575.5")
    # What is refunded to a grant that is void is forfeited with it, or becomes one of its own.
    lab.ctl("credit", "refund", f"#{usage[0]['seq']}", "--amount", "0.007")
    assert nano(lab, "acme") == policy.nano("575.5")
    lab.ctl("credit", "refund", f"#{usage[0]['seq']}", "--as-grant")
    assert nano(lab, "acme") == policy.nano("575.52")
    (made,) = [g for g in balance(lab, "acme")["grants"] if g["source"] == "refund"]
    assert (made["amount"], made["expires_at"]) == ("0.02", None)
    (row,) = lab.ctl("credit", "breakage", "acme", "--by", "tenant")["rows"]
    assert (row["key"], row["voided"], row["expired"]) == ("acme", "199.98", "0")
    assert assert_adds_up(entries(lab, "acme")) == policy.nano("575.52")
    before = balance(lab, "acme")
    assert lab.stop_agent() == 0
    lab.start_agent()
    assert balance(lab, "acme") == before and verified(lab)["repriced"] >= 2


def used_before_it_expired(lab):
    """A promo grant of 5, 2 of which were deducted before it expired: however slow we are."""
    for seconds in (2, 4, 8, 16, 32):
        promo = lab.ctl("credit", "grant", "promo", "5", "--source", "promo", "--expires",
                        f"{seconds}s")
        lab.ctl("credit", "deduct", "promo", "2", "--id", f"scan-{seconds}")
        used = [e for e in entries(lab, "promo") if e["kind"] == "deduct"][-1]
        if used["burn"] == [{"grant_seq": promo["seq"], "amount": "2"}]:
            return promo, used
    raise AssertionError("never in time")


def test_promo_goes_before_paid_and_expires_on_the_instant(lab):
    lab.ctl("credit", "grant", "promo", "10")
    promo, used = used_before_it_expired(lab)

    def lot():
        return next(g for g in balance(lab, "promo")["grants"] if g["seq"] == promo["seq"])
    expired = wait_for(lambda: (e := [e for e in entries(lab, "promo") if e["kind"] == "expire" and
                                      e["of_seq"] == promo["seq"]]) and e[0], "its expiry", 40)
    # Its time is the instant itself, whenever it was entered.
    assert expired["time"] == lot()["expires_at"]
    assert (lot()["remaining"], lot()["expired"]) == ("0", "3")
    left = nano(lab, "promo")
    # Back into what has expired: restored and expired together.
    lab.ctl("credit", "refund", f"#{used['seq']}", "--amount", "0.5")
    assert nano(lab, "promo") == left and lot()["expired"] == "3.5"
    lab.ctl("credit", "refund", f"#{used['seq']}", "--as-grant")
    assert nano(lab, "promo") == left + policy.nano("1.5")
    rows = {r["key"]: r for r in lab.ctl("credit", "breakage", "promo")["rows"]}
    assert policy.nano(rows["promo"]["breakage"]) >= policy.nano("3.5")
    listed = entries(lab, "promo")
    assert sum(policy.nano(m["amount"]) for e in listed for m in e.get("moves", [])
               if m["purse"] == "expired") == policy.nano(rows["promo"]["breakage"])
    assert assert_adds_up(listed) == left + policy.nano("1.5")
    verified(lab)


def test_a_schedule_grants_at_once_and_until_its_next_boundary(lab):
    made = lab.ctl("credit", "recur", "plan", "20", "--every", "month", "--zone",
                   "Europe/Berlin", "--rollover-max", "5", "--source", "trial")
    assert made["balance"] == "20"
    (schedule,) = lab.ctl("credit", "recur", "list", "plan")
    (grant,) = balance(lab, "plan")["grants"]
    assert (grant["source"], grant["schedule_seq"]) == ("trial", made["seq"])
    # Midnight of the first in Berlin: 22:00 or 23:00 the day before, in UTC.
    assert grant["expires_at"] == schedule["next"]
    assert schedule["next"][11:] in ("22:00:00Z", "23:00:00Z")
    assert [e["kind"] for e in entries(lab, "plan")] == ["schedule", "recur"]
    stopped = lab.ctl("credit", "recur", "stop", f"#{made['seq']}")
    assert stopped["balance"] == "20"
    assert lab.ctl("credit", "recur", "list", "plan")[0]["stopped"] is True
    verified(lab)


def test_an_organisation_pays_for_its_team(lab):
    lab.ctl("credit", "grant", "org", "3")
    refused = lab.weirctl("credit", "grant", "team", "1", check=False)
    assert refused.returncode == 1 and '"org" pays for it' in refused.stderr
    ask(lab, 60, "sk-team")
    wait_events(lab, 1, "team")
    shown = balance(lab, "team")
    assert (shown["tenant"], shown["wallet"]) == ("team", "org")
    assert shown["balance"] == balance(lab, "org")["balance"] == "2.973"
    (used,) = entries(lab, "team")
    assert (used["tenant"], used["wallet"], used["amount"]) == ("team", "org", "-0.027")
    back = lab.ctl("credit", "refund", used["event_id"])
    assert (back["tenant"], back["balance"]) == ("team", "3")
    verified(lab)


# ------------------------------------------------------------------ many at once, and kills

def test_a_sale_that_eight_repeat_at_once_is_made_once(lab):
    sellers = [subprocess.Popen([BUILD / "weirctl", "--socket", lab.control, "credit", "sell",
                                 "shop", "p500", "--id", "at-once", "--json"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for _ in range(8)]
    said = []
    for seller in sellers:
        out, err = seller.communicate(timeout=60)
        assert seller.returncode == 0, err
        said.append(json.loads(out))
    # Each has an expiry of its own in mind, reckoned from its own now; one of them holds.
    assert len({(s["seq"], s["expires_at"], s["bonus"]["seq"]) for s in said}) == 1
    assert sum(not s["repeated"] for s in said) == 1
    assert nano(lab, "shop") == policy.nano("525.5")
    assert [e["kind"] for e in entries(lab, "shop")] == ["grant", "grant"]


# Each process takes 3 again and again until it is told that there is not so much.
TAKER = """
n=0 status=0
while [ $status = 0 ]; do
    "$0" --socket "$1" credit deduct many 3 --id "$2-$n" --json
    status=$? n=$((n + 1))
done
echo "exit $status" >&2
"""


def test_sixteen_processes_never_take_the_same_credit(lab):
    lab.ctl("credit", "grant", "many", "400")
    lab.ctl("credit", "grant", "many", "100", "--source", "promo")
    takers = [subprocess.Popen(["bash", "-c", TAKER, BUILD / "weirctl", lab.control, f"p{n}"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
              for n in range(16)]
    taken = []
    for taker in takers:
        out, err = taker.communicate(timeout=300)
        assert err.splitlines()[-1] == "exit 1" and "cannot be deducted" in err
        taken += [json.loads(line) for line in out.splitlines()]
    assert len(taken) == 166 and not any(t["repeated"] for t in taken)
    assert len({t["seq"] for t in taken}) == 166
    assert balance(lab, "many")["balance"] == "2" and balance(lab, "many")["debt"] == "0"
    listed = entries(lab, "many")
    assert assert_adds_up(listed) == policy.nano("2")
    assert all(policy.nano(e["balance_after"]) >= 0 for e in listed)
    verified(lab)


def deduct(lab, key):
    return subprocess.Popen([BUILD / "weirctl", "--socket", lab.control, "credit", "deduct",
                             "killed", "1", "--id", key, "--json"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_what_was_asked_of_an_agent_that_is_killed_can_be_repeated(lab):
    lab.ctl("credit", "grant", "killed", "100")
    unknown = 0
    for round_ in range(2):
        keys = [f"r{round_}-{n}" for n in range(8)]
        if round_ == 0:  # it has heard of none of them
            with lab.agent_down("SIGSTOP"):
                running = [deduct(lab, key) for key in keys]
                for child in running:  # each has sent its request, and waits
                    wait_for(lambda c=child: waits(c), "weirctl to wait")
                lab.agent.kill()
            lab.agent.wait()
        else:  # whatever it has done by then
            running = [deduct(lab, key) for key in keys]
            wait_for(lambda: any(c.poll() is not None for c in running), "the first answer")
            lab.kill_agent()
        first = []
        for key, child in zip(keys, running):
            out, err = child.communicate(timeout=60)
            assert child.returncode in (0, 3, 4), err
            if child.returncode == 4:
                assert f"--id {key}" in err
                unknown += 1
            first.append(json.loads(out) if child.returncode == 0 else None)
        lab.start_agent()
        for key, before in zip(keys, first):
            after = lab.ctl("credit", "deduct", "killed", "1", "--id", key)
            if before:  # an answer that came is never taken back
                assert after["repeated"] is True and after["seq"] == before["seq"]
        assert nano(lab, "killed") == (100 - 8 * (round_ + 1)) * NANO
    assert unknown >= 8
    done = [e["id"] for e in entries(lab, "killed") if e["kind"] == "deduct"]
    assert len(done) == len(set(done)) == 16
    verified(lab)


def waits(child):
    """Does weirctl sleep? It does so for an answer only."""
    stat = pathlib.Path(f"/proc/{child.pid}/stat").read_text()
    return "(weirctl)" in stat and stat.rpartition(")")[2].split()[0] == "S"


def test_an_answer_that_nobody_read_is_given_again(lab):
    lab.ctl("credit", "grant", "unread", "10")
    request = {"op": "credit.deduct", "tenant": "unread", "amount": "4", "id": "once"}
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(lab.control))
        sock.sendall(json.dumps(request).encode() + b"\n")
    wait_for(lambda: nano(lab, "unread") == 6 * NANO, "the deduction")
    again = lab.ctl("credit", "deduct", "unread", "4", "--id", "once")
    assert again["repeated"] is True and again["balance"] == "6"
    other = lab.weirctl("credit", "deduct", "unread", "5", "--id", "once", check=False)
    assert other.returncode == 1 and '"once"' in other.stderr
    assert nano(lab, "unread") == 6 * NANO
