# SPDX-License-Identifier: Apache-2.0
"""An admitted connection, whatever TCP its client speaks and whatever is lost,
resent or forged: the request is judged once, reaches the server as it was judged,
its answer arrives and is metered once, and nothing is held afterwards."""
import socket

import pytest
from checks import events_of
from tcp_lab import (ANSWER, BOTH_FAMILIES, Counted, answered, ask, kernel_connect, metered, post,
                     settled, shared, take, tcp, whole)
from weirlab import wait_for
from weirlab.raw_http import Response, shut
from weirlab.rawtcp import ACK, FIN, RST, SACK, WRAP

__all__ = ["shared", "tcp"]  # fixtures


OPTIONS = {
    "as Linux has them": {},
    "none at all": {"timestamps": False, "sack_ok": False, "wscale": None},
    "small MSS": {"mss": 536},
    "largest window scale": {"wscale": 14},
    "sequence numbers wrap in the head": {"isn": WRAP - 40},
    "sequence numbers wrap at the head": {"isn": WRAP - 1},
}


@BOTH_FAMILIES
@pytest.mark.parametrize("options", OPTIONS)
def test_requests_are_judged_one_by_one_for_any_options(tcp, family, options):
    counted, since = Counted(tcp), len(events_of(tcp))
    conn = tcp.wire.connect(family, **OPTIONS[options])
    for _ in range(3):
        assert answered(conn)["usage"]
    assert (tcp.live("acme")["connections"], tcp.live("acme")["inflight"]) == (1, 0)
    conn.close()
    counted.expect(admit_connection=1, admit_request=3, close_released=1)
    metered(tcp, 3, since)
    settled(tcp)


# ------------------------------------------------- probes, duplicates, disorder

@BOTH_FAMILIES
@pytest.mark.parametrize("garbage", (b"", b"\0"), ids=("no byte", "one byte"))
def test_keepalive_probes_reach_the_server_and_harm_nothing(tcp, family, garbage):
    counted = Counted(tcp)
    conn = tcp.wire.connect(family)

    def probe():
        conn.probe(garbage)
        answer = conn.next("the probe's answer")
        assert (answer.ack, answer.payload) == (conn.snd_nxt, b"")
    probe()
    assert answered(conn)["usage"]
    probe()
    assert answered(conn)["usage"]
    probe()
    if garbage:
        counted.expect(pass_repeat=3)
    counted.expect(admit_request=2, flow_new=1)
    conn.close()
    settled(tcp)


@BOTH_FAMILIES
def test_answer_squeezes_through_a_small_window_that_closes(tcp, family):
    """Window probes of the server's, and pieces of a hundred bytes: metered all the same."""
    counted, since = Counted(tcp), len(events_of(tcp))
    conn = tcp.wire.connect(family, wscale=None, window=0)
    conn.sendall(ask(tokens=30, stream=True, include_usage=True))
    probe = conn.next("a window probe", lambda s: s.seq == (conn.rcv_nxt - 1) % WRAP)
    assert not probe.payload and not conn.received
    conn.window = 100
    conn.ack()
    for _ in range(5):
        conn.next("a piece", lambda s: s.payload)
        conn.ack()
    conn.window = 65535
    conn.ack()
    assert Response(conn).read_head().body().endswith(b"data: [DONE]\n\n")
    conn.close()
    counted.expect(admit_request=1, tap_hole=0)
    metered(tcp, 1, since)
    settled(tcp)


def test_client_probes_the_servers_closed_window(tcp):
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand(receive_buffer=2304)
    request = post(b"x" * 20_000)
    sent = 0
    with server:
        window = 1000
        while window:  # until the server takes no more: then a probe of one byte, again and again
            piece = request[sent:sent + min(1000, window)]
            conn.send(piece)
            sent += len(piece)
            window = conn.until_taken(piece).window
        closed = conn.snd_una
        for _ in range(3):
            at = (closed - conn.snd_nxt) % WRAP
            offset = sent - (WRAP - at) % WRAP
            conn.put(request[offset:offset + 1], seq=closed)
            answer = conn.next("the probe's answer")
            assert (answer.window, answer.ack) == (0, closed)
        got = take(server, offset)
        while len(got) < len(request):
            conn.put(request[len(got):len(got) + 1000], seq=closed + len(got) - offset)
            got += take(server, min(1000, len(request) - len(got)))
        conn.snd_nxt = (closed + len(request) - offset) % WRAP
        assert got == request
        server.sendall(ANSWER)
        whole(conn)
        conn.send(flags=ACK | FIN)
        assert server.recv(1) == b""
    counted.expect(admit_request=1)
    conn.until_acked()
    conn.drop()
    settled(tcp)


@BOTH_FAMILIES
def test_every_segment_twice_is_judged_once(tcp, family):
    counted, since = Counted(tcp), len(events_of(tcp))
    conn = tcp.wire.connect(family)
    request = ask()
    pieces = request[:-50], request[-50:-20], request[-20:]
    for piece in pieces:
        at = conn.snd_nxt
        conn.send(piece)
        conn.put(piece, seq=at)
    assert whole(conn)["usage"]
    counted.expect(admit_request=1)
    assert answered(conn)["usage"]
    conn.close()
    counted.expect(admit_request=2, drop_changed=0)
    metered(tcp, 2, since)
    settled(tcp)


def test_body_out_of_order_is_kept_and_named_in_sack_blocks(tcp):
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    body = b"".join(b"%04d" % n for n in range(300))
    with server:
        conn.send(post(body)[:-len(body)])
        at = conn.snd_nxt
        for n in (2, 1):
            conn.put(body[n * 400:n * 400 + 400], seq=at + n * 400)
            selective = conn.next("a selective ACK", lambda s: SACK in s.options)
            assert selective.ack == at
        conn.put(body[:400], seq=at)
        conn.snd_nxt = (at + len(body)) % WRAP
        conn.until_acked()
        assert take(server, len(post(body))) == post(body)
        server.sendall(ANSWER)
        whole(conn)
    conn.close()
    counted.expect(admit_request=1, pass_body=3, drop_out_of_order=0)
    settled(tcp)


def test_body_in_front_of_its_head_is_dropped_and_comes_again(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    request = ask()
    at = conn.snd_nxt
    conn.put(request[-50:], seq=at + len(request) - 50)
    conn.send(request[:-50])
    answer = conn.next("the head's ACK", lambda s: s.ack == conn.snd_nxt)
    assert SACK not in answer.options
    conn.send(request[-50:])
    assert whole(conn)["usage"]
    conn.close()
    counted.expect(admit_request=1, drop_out_of_order=1)
    settled(tcp)


@BOTH_FAMILIES
def test_head_in_parts_out_of_order(tcp, family):
    counted = Counted(tcp)
    conn = tcp.wire.connect(family)
    request, at = ask(), conn.snd_nxt
    conn.put(request[60:], seq=at + 60)
    conn.send(request[:60])
    conn.until_acked()
    conn.send(request[60:])
    assert whole(conn)["usage"]
    conn.close()
    counted.expect(drop_out_of_order=1, pass_head_part=1, admit_request=1, pass_split_head=0)
    settled(tcp)


def test_answer_that_is_lost_is_resent_and_metered_once(tcp):
    counted, since = Counted(tcp), len(events_of(tcp))
    conn = tcp.wire.connect()
    conn.sendall(ask())
    first = conn.next("the answer", lambda s: s.payload)
    again = conn.next("the answer again", lambda s: s.payload and s.seq == first.seq)
    assert again.payload[:100] == first.payload[:100]
    assert whole(conn)["usage"]
    assert counted["tap_retransmit"] >= 1
    assert answered(conn)["usage"]
    conn.close()
    metered(tcp, 2, since)
    settled(tcp)


# ------------------------------------------------------------- ways of closing

def test_client_half_closes_before_the_answer(tcp):
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    with server:
        conn.send(post(b"{}"), flags=ACK | FIN)
        assert take(server, len(post(b"{}"))) and server.recv(1) == b""
        assert tcp.live("acme")["inflight"] == 1
        server.sendall(ANSWER)
        whole(conn)
        wait_for(lambda: tcp.live("acme")["inflight"] == 0, "the place in flight")
        assert tcp.live("acme")["connections"] == 1
    conn.next("the server's FIN", lambda s: conn.peer_fin)
    conn.ack()
    counted.expect(admit_request=1, close_released=1)
    settled(tcp)


@BOTH_FAMILIES
def test_server_closes_first_and_the_client_uses_its_port_again(tcp, family):
    """The second time in the server's TIME_WAIT."""
    counted, since = Counted(tcp), len(events_of(tcp))
    conn = tcp.wire.connect(family)
    for n in range(3):
        conn.sendall(ask(extra=["Connection: close"]))
        assert whole(conn)["usage"] and conn.recv(1) == b""
        conn.close()
        wait_for(lambda: tcp.server_states(conn) == ["TIME-WAIT"], "TIME_WAIT")
        if n < 2:
            newer = tcp.wire.raw(family, sport=conn.sport, isn=conn.snd_nxt + 100_000)
            newer.tsval = conn.tsval + 1000
            conn = newer.handshake()
            assert tcp.live("acme")["connections"] == 1
    counted.expect(admit_connection=3, admit_request=3, close_released=3)
    metered(tcp, 3, since)
    settled(tcp)


def test_old_syn_in_time_wait_holds_nothing(tcp):
    """An old SYN is answered with an ACK (RFC 9293 3.10.7.4); the client resets and tries again,
    without waiting and without being counted twice."""
    conn = tcp.wire.connect()
    conn.sendall(ask(extra=["Connection: close"]))
    assert whole(conn)["usage"] and conn.recv(1) == b""
    conn.close()
    wait_for(lambda: tcp.server_states(conn) == ["TIME-WAIT"], "TIME_WAIT")
    old = tcp.wire.raw(sport=conn.sport, isn=conn.snd_una - 100_000, timestamps=False)
    old.syn()
    stale = old.next("an ACK of the old connection")
    assert stale.ack == conn.snd_nxt and not stale.flags & 7
    old.put(flags=RST, seq=stale.ack)
    again = tcp.wire.connect(sport=conn.sport, isn=conn.snd_nxt + 100_000)
    assert tcp.live("acme")["connections"] == 1
    assert answered(again)["usage"]
    again.close()
    settled(tcp)


def test_simultaneous_close(tcp):
    conn, server = tcp.connect_by_hand()
    with server:
        conn.send(post(b"{}"))
        take(server, len(post(b"{}")))
        server.sendall(ANSWER)
        whole(conn)
    conn.next("the server's FIN", lambda s: conn.peer_fin)
    conn.send(flags=ACK | FIN, ack=conn.rcv_nxt - 1)  # sent before that FIN was seen
    conn.until_acked()
    assert tcp.server_states(conn) == ["CLOSING"]
    conn.ack()
    wait_for(lambda: tcp.server_states(conn) == ["TIME-WAIT"], "TIME_WAIT")
    settled(tcp)


def test_client_that_is_gone_while_its_answer_is_sent(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    conn.sendall(ask(stream=True, hold=1))
    conn.next("the first token", lambda s: b"tok0" in s.payload)
    assert tcp.live("acme")["inflight"] == 1
    conn.reset()
    counted.expect(admit_request=1, close_released=1)
    settled(tcp)
    tcp.admin("release")


@pytest.mark.parametrize("off", (1, -100_000), ids=("in the window", "outside"))
def test_reset_at_another_byte_closes_nothing(tcp, off):
    """RFC 5961 3.2: the one is challenged, the other ignored; the request stays in flight."""
    conn, server = tcp.connect_by_hand()
    with server:
        conn.send(post(b"{}"))
        take(server, len(post(b"{}")))
        conn.until_acked()
        conn.put(flags=RST, seq=conn.snd_nxt + off)
        if off > 0:
            assert conn.next("a challenge ACK").ack == conn.snd_nxt
        conn.probe()
        conn.next("the probe's answer")
        assert tcp.live("acme")["inflight"] == 1 and tcp.server_states(conn) == ["ESTAB"]
        server.sendall(ANSWER)
        whole(conn)
    conn.close()
    settled(tcp)


# ------------------------------------------------------ the client kernel's TCP

def test_kernel_client_half_closes_and_reads(tcp):
    with kernel_connect(tcp) as sock:
        sock.sendall(ask())
        assert whole(sock)["usage"]
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    settled(tcp)


def test_kernel_client_resets_in_the_middle_of_a_stream(tcp):
    counted = Counted(tcp)
    sock = kernel_connect(tcp)
    sock.sendall(ask(stream=True, hold=1))
    assert Response(sock).read_head().status == 200
    shut(sock)
    counted.expect(admit_request=1, close_released=1)
    settled(tcp)
    tcp.admin("release")
