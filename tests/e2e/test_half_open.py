# SPDX-License-Identifier: Apache-2.0
"""Handshakes that never complete hold their slot five seconds, with an agent and
without one; what completes after all is taken in again."""
import contextlib
import time

import pytest
from limit_lab import CHAT, LimitLab, document, tenant
from weirlab import wait_for
from weirlab.raw_http import chat_body, send
from weirlab.rawtcp import RAW4, RST, Wire

HALF_OPEN_S = 5
LIMIT = 4
# Hand-made connections come from RAW4.
POLICY = document(tenant("house", connections=LIMIT),
                  tenant("raw", "open", "house", [f"{RAW4}/32"], connections=LIMIT),
                  tenant("neighbour", "open", "house", ["10.80.2.0/24"]),
                  tenant("tier", "narrow", sources=["10.80.1.0/24"]),
                  tenant("plain"),
                  tiers={"narrow": {"half_open": 2}})


@pytest.fixture(scope="module")
def lab():
    with LimitLab() as made:
        made.guard(POLICY, nats=False)
        yield made
        print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


@pytest.fixture
def wire(lab):
    made = Wire(lab)
    yield made
    made.close()
    lab.gauge("raw", "connections", 0, seconds=2 * HALF_OPEN_S)
    assert lab.live("raw")["half_open"] == 0
    wait_for(lambda: lab.ctl("status")["flows"]["used"] == 0, "the flows to go")


def half(wire, port=None):
    """A handshake that stops at the server's SYN-ACK."""
    conn = wire.raw(sport=port)
    conn.syn()
    conn.syn_ack()
    return conn


def held(lab, name="raw"):
    live = lab.live(name)
    return live["connections"], live["half_open"]


def test_slots_come_back_after_five_seconds(lab, wire):
    """Who says RST gives his back at once. And who completes after those five seconds, while the
    server still waits for it, is taken in and judged."""
    expired, judged = lab.verdict("half_open_expired"), lab.verdict("admit_request")
    began = time.monotonic()
    conns = [half(wire) for _ in range(LIMIT)]
    conns.pop().reset()
    lab.gauge("raw", "connections", LIMIT - 1)
    conns.append(half(wire))
    last = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        half(wire)
    assert held(lab) == (LIMIT, LIMIT) or time.monotonic() - began > HALF_OPEN_S
    lab.gauge("raw", "connections", 0, seconds=2 * HALF_OPEN_S)
    assert time.monotonic() - last >= HALF_OPEN_S, "a slot came back too early"
    assert held(lab) == (0, 0)
    assert lab.verdict("half_open_expired") == expired + LIMIT

    late = conns.pop()
    late.ack()
    assert send(late, "POST", CHAT, "sk-plain", chat_body(1)).json()
    assert lab.verdict("admit_request") == judged + 1
    assert held(lab) == (0, 0) and held(lab, "plain") == (1, 0)
    late.close()
    lab.gauge("plain", "connections", 0)


def test_slots_come_back_with_the_agent_dead(lab, wire):
    """A SYN that comes has the oldest handshakes looked at; also one of a tenant that has none
    itself, and finds its parent's places taken."""
    wire.reach("10.80.2.0/24")
    with lab.agent_down("SIGKILL"):
        for _ in range(LIMIT):
            half(wire)
        last = time.monotonic()
        for source in (RAW4, "10.80.2.1"):
            with pytest.raises(ConnectionRefusedError):
                wire.connect(source=source)

        def let_in(**how):
            with contextlib.suppress(ConnectionRefusedError):
                return wire.connect(**how)
        # Its own SYN frees the place: nobody else is there to.
        first = wait_for(lambda: let_in(source="10.80.2.1"), "a slot", 2 * HALF_OPEN_S, every=0.25)
        assert time.monotonic() - last >= HALF_OPEN_S - 1
        more = [first] + [wait_for(let_in, "a slot", 2, every=0.25) for _ in range(LIMIT - 1)]
        with pytest.raises(ConnectionRefusedError):
            half(wire)
        for conn in more:
            conn.close()
    for name in ("house", "neighbour"):
        lab.gauge(name, "connections", 0)


def test_nobody_has_more_connections_by_completing_late(lab, wire):
    """A place is given back on a reset that the server does not take, for its checksum is wrong;
    then the handshake is completed."""
    for _ in range(2 * LIMIT):
        with contextlib.suppress(ConnectionRefusedError):
            conn = half(wire)
            conn.put(flags=RST, seq=conn.snd_nxt, bad_sum=True)
            conn.ack()
    wire.reach("10.80.1.0/24")
    other = wire.connect(source="10.80.1.9")  # behind all of them on the wire
    open_ = lab.in_server("ss", "-Htn", "state", "established", f"dst {RAW4}").stdout
    other.close()
    assert len(open_.splitlines()) <= LIMIT


def test_one_that_completes_late_and_says_nothing_stays_counted(lab, wire):
    conn = half(wire)
    lab.gauge("raw", "connections", 0, seconds=2 * HALF_OPEN_S)
    conn.ack()
    lab.gauge("raw", "connections", 1)
    time.sleep(HALF_OPEN_S + 2)  # in which nothing may happen
    assert held(lab) == (1, 0)
    conn.close()
    lab.gauge("raw", "connections", 0)


def test_one_that_completes_is_no_half_open_any_more(lab, wire):
    conn = half(wire)
    assert held(lab) == (1, 1)
    conn.ack()
    lab.gauge("raw", "half_open", 0)
    assert held(lab) == (1, 0)
    assert send(conn, "POST", CHAT, "sk-plain", chat_body(1)).json()
    assert held(lab) == (0, 0) and held(lab, "plain") == (1, 0)
    conn.close()
    lab.gauge("plain", "connections", 0)


def test_a_syn_that_is_sent_again_is_counted_once(lab, wire):
    conn = wire.raw()
    for _ in range(3):
        conn.syn()
        conn.syn_ack()
    assert held(lab) == (1, 1)
    conn.ack()
    lab.gauge("raw", "half_open", 0)
    assert held(lab) == (1, 0)
    conn.close()


def test_over_its_bound_a_tenants_syn_is_not_answered(lab, wire):
    """`half_open` bounds it, without a reset: whoever is behind a flood of other people's
    addresses hears nothing."""
    denied = lab.verdict("half_open")
    wire.reach("10.80.1.0/24")
    conns = []
    for n in range(3):
        conn = wire.raw(source=f"10.80.1.{n + 1}")
        conn.syn()
        conns.append(conn)
    for conn in conns[:2]:
        conn.syn_ack()
    wait_for(lambda: lab.verdict("half_open") == denied + 1, "the third to be dropped")
    assert held(lab, "tier") == (2, 2)
    assert not conns[2].peer_rst
    conns[0].ack()
    lab.gauge("tier", "half_open", 1)
    conns[2].syn()
    conns[2].syn_ack()
    assert held(lab, "tier") == (3, 2)
    conns[1].ack()
    conns[2].ack()
    for conn in conns:
        conn.close()
    lab.gauge("tier", "connections", 0)
    assert lab.why("tier", "half_open")["limit_of"] == "tier"
