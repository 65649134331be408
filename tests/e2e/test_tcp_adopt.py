# SPDX-License-Identifier: Apache-2.0
"""Connections that are older than the agent, in every state that a start can meet:
judged from their next request on, counted, released, and none of them harmed."""
import pytest
from checks import events_of
from tcp_lab import (ACME, ANSWER, BOTH_FAMILIES, BROKE, Counted, answered, ask, kernel_connect,
                     post, refusal, settled, take, unguarded, whole)
from weirlab import wait_for
from weirlab.raw_http import Response
from weirlab.rawtcp import ACK, FIN

__all__ = ["unguarded"]  # fixture


@BOTH_FAMILIES
def test_idle_connection_is_judged_from_its_next_request_on(unguarded, family):
    lab = unguarded
    conn, idle = lab.wire.connect(family), lab.wire.connect(family)
    kernel = kernel_connect(lab, family)
    for one in (conn, kernel):
        assert answered(one)["usage"]
    lab.guard()
    counted = Counted(lab)
    for one in (conn, idle, kernel):
        for _ in range(2):
            assert answered(one)["usage"]
    assert lab.live("acme") == {**lab.live("acme"), "connections": 3, "inflight": 0}
    counted.expect(flow_adopted=3, admit_request=6, admit_connection=0, tap_unjudged=0)
    conn.close()
    idle.reset()
    kernel.close()
    counted.expect(close_released=3)
    wait_for(lambda: len(events_of(lab)) == 6, "the six events")
    settled(lab)


@BOTH_FAMILIES
def test_refused_after_adoption_reads_its_answer(unguarded, family):
    lab = unguarded
    conn, kernel = lab.wire.connect(family), kernel_connect(lab, family)
    for one in (conn, kernel):
        assert answered(one, BROKE)["usage"]
    lab.guard()
    counted = Counted(lab)
    for one in (conn, kernel):
        one.sendall(ask(BROKE))
        refusal(one)
        lab.server_forgot(one)
        one.close()
    counted.expect(flow_adopted=2, credit=2, linger_done=2, admit_request=0)
    assert len(lab.served(BROKE)) == 2
    settled(lab)


def test_answer_in_flight_at_the_start_passes_whole(unguarded):
    """In its middle, and not yet begun; what comes after it on the connection is judged."""
    lab = unguarded
    begun, waiting = lab.wire.connect(), kernel_connect(lab)
    begun.sendall(ask(tokens=20, stream=True, include_usage=True, hold=1))
    stream = Response(begun).read_head()
    pieces = stream.chunks()
    text = next(pieces)
    waiting.sendall(ask(tokens=20, hold=1))
    wait_for(lambda: lab.admin()["open"] == 2, "both requests")
    lab.guard()
    counted = Counted(lab)
    lab.admin("release")
    text += b"".join(pieces)
    assert text.endswith(b"data: [DONE]\n\n")
    assert whole(waiting)["usage"]["completion_tokens"] == 20
    for one in (begun, waiting):
        assert answered(one)["usage"]
    counted.expect(admit_request=2, flow_adopted=2, drop_unjudged=0)
    begun.close()
    waiting.close()
    wait_for(lambda: len(events_of(lab)) == 2, "the two events")
    settled(lab)


@pytest.mark.parametrize("cut", (9, 60, -10), ids=("in the request line", "in the head",
                                                  "in the body"))
def test_request_in_parts_across_the_start_is_served(unguarded, cut):
    """Nobody saw where it began: it passes, its answer too, and the next one is judged."""
    lab = unguarded
    conn = lab.wire.connect()
    conn.sendall(ask()[:cut])
    conn.until_acked()
    lab.guard()
    counted = Counted(lab)
    conn.sendall(ask()[cut:])
    assert whole(conn)["usage"]
    counted.expect(admit_request=0, drop_unjudged=0)
    assert answered(conn)["usage"]
    counted.expect(admit_request=1)
    conn.sendall(ask(BROKE))
    refusal(conn)
    conn.close()
    counted.expect(credit=1, linger_done=1)
    settled(lab)


@pytest.mark.parametrize("key", (ACME, BROKE))
def test_request_of_before_the_start_that_is_resent_is_not_judged_again(unguarded, key):
    """Its ACK was lost. The server throws it away, so no answer would ever end it."""
    lab = unguarded
    conn = lab.wire.connect()
    request, at = ask(key), conn.snd_nxt
    conn.sendall(request)
    assert whole(conn)["usage"]
    lab.guard()
    counted = Counted(lab)
    conn.put(request, seq=at)
    answer = conn.next("an ACK")
    assert (answer.ack, answer.payload) == (conn.snd_nxt, b"")
    assert answered(conn)["usage"]
    counted.expect(admit_request=1, credit=0, drop_pipelined=0, drop_changed=0)
    conn.close()
    assert not lab.live("acme")["inflight"]
    settled(lab)


@pytest.mark.parametrize("garbage", (b"", b"\0", b"P"), ids=("no byte", "one byte", "a letter"))
def test_keepalive_probe_after_the_start_harms_nothing(unguarded, garbage):
    lab = unguarded
    conn = lab.wire.connect()
    assert answered(conn)["usage"]
    lab.guard()
    counted = Counted(lab)
    conn.probe(garbage)
    assert conn.next("the probe's answer").ack == conn.snd_nxt
    assert answered(conn)["usage"]
    conn.probe(garbage)
    conn.next("the probe's answer")
    conn.sendall(ask(BROKE))
    refusal(conn)
    conn.close()
    counted.expect(flow_adopted=1, admit_request=1, credit=1)
    settled(lab)


def test_half_closed_connection_gets_its_answer(unguarded):
    """The client's FIN went before the start: nothing more is asked, the rest passes."""
    lab = unguarded
    conn, server = lab.connect_by_hand()
    with server:
        conn.send(post(b"{}"), flags=ACK | FIN)
        assert take(server, len(post(b"{}"))) and server.recv(1) == b""
        lab.guard()
        server.sendall(ANSWER)
        whole(conn)
    conn.next("the server's FIN", lambda s: conn.peer_fin)
    conn.ack()
    lab.server_forgot(conn)
    settled(lab)


def test_connections_that_end_unjudged_after_the_start_hold_nothing(unguarded):
    lab = unguarded
    conns = [lab.wire.connect() for _ in range(3)]
    lab.guard()
    conns[0].close()
    conns[1].reset()
    lab.server_forgot(conns[1])
    conns[2].send(b"\0\1\2 no request at all")
    conns[2].until_acked()
    conns[2].reset()
    settled(lab)


def test_server_in_time_wait_at_the_start_and_the_port_used_again(unguarded):
    lab = unguarded
    conn = lab.wire.connect()
    conn.sendall(ask(extra=["Connection: close"]))
    assert whole(conn)["usage"] and conn.recv(1) == b""
    conn.close()
    wait_for(lambda: lab.server_states(conn) == ["TIME-WAIT"], "TIME_WAIT")
    lab.guard()
    counted = Counted(lab)
    again = lab.wire.raw(sport=conn.sport, isn=conn.snd_nxt + 100_000)
    again.tsval = conn.tsval + 1000
    again.handshake()
    assert answered(again)["usage"]
    again.close()
    counted.expect(admit_connection=1, flow_adopted=0, admit_request=1)
    settled(lab)


def test_handshake_across_the_start(unguarded):
    """SYN before it, ACK and request after it."""
    lab = unguarded
    conn = lab.wire.raw()
    conn.syn()
    conn.syn_ack()
    lab.guard()
    counted = Counted(lab)
    assert answered(conn)["usage"]
    conn.sendall(ask(BROKE))
    refusal(conn)
    conn.close()
    counted.expect(credit=1, admit_request=1)
    settled(lab)


def test_refused_connection_lingers_across_a_restart(unguarded):
    """The agent starts a second time between a refusal and its reading."""
    lab = unguarded
    lab.guard()
    conn = lab.wire.connect()
    conn.send(ask(BROKE))
    reply = conn.next("the reply", lambda s: s.payload)
    lab.kill_agent()
    conn.put(b"", seq=conn.snd_nxt - 1)
    assert conn.next("the reply again", lambda s: s.payload).payload == reply.payload
    lab.start_agent()
    refusal(conn)
    conn.close()
    settled(lab)
