# SPDX-License-Identifier: Apache-2.0
"""A refused connection, whatever TCP the client speaks and whatever is lost: the
client always reads its answer, the server always ends up without the connection,
and nothing is held afterwards."""
import socket

import pytest
from tcp_lab import (ACME, ANSWER, BOTH_FAMILIES, BROKE, Counted, answered, ask, closed,
                     kernel_connect, post, refusal, settled, shared, take, tcp, was_reset, whole)
from weirlab.lab import PORT, SERVER4
from weirlab.raw_http import Response, shut
from weirlab.rawtcp import ACK, FIN, SACK, WRAP, option, sack, timestamp

__all__ = ["shared", "tcp"]  # fixtures


def refuse(conn, **how):
    """Send a request that is refused, whole; returns the segment that answers it, which is not
    acknowledged."""
    conn.send(ask(BROKE), **how)
    return the_reply(conn)


def the_reply(conn):
    return conn.next("the whole reply", lambda s: s.payload)


def finish(lab, conn, counted):
    """From the reply received: all acknowledged, closed, nothing left at either end."""
    conn.ack()
    conn.close()
    counted.expect(credit=1, linger_done=1, admit_connection=1)
    lab.server_forgot(conn)
    settled(lab)
    assert not lab.served(BROKE) and not lab.admin()["bad"]


OPTIONS = {
    "as Linux has them": {},
    "no time stamps": {"timestamps": False},
    "none at all": {"timestamps": False, "sack_ok": False, "wscale": None},
    "largest window scale": {"wscale": 14},
    "no window scale": {"wscale": None},
    "sequence numbers wrap in the head": {"isn": WRAP - 40},
    "sequence numbers wrap at the head": {"isn": WRAP - 1},
}


@BOTH_FAMILIES
@pytest.mark.parametrize("options", OPTIONS)
def test_reply_is_a_sound_segment_for_any_options(tcp, family, options):
    counted = Counted(tcp)
    conn = tcp.wire.connect(family, **OPTIONS[options])
    expected_seq, server_time = conn.rcv_nxt, conn.tsecr
    reply = refuse(conn)
    assert reply.sound is True and reply.seq == expected_seq
    assert reply.ack == conn.snd_nxt and reply.flags & FIN and reply.flags & ACK
    if conn.timestamps:
        assert reply.times == (server_time, conn.tsval)
    else:
        assert not reply.options
    assert reply.window
    assert Response(conn).read_head().status == 429
    finish(tcp, conn, counted)


@BOTH_FAMILIES
def test_every_retransmission_is_answered_with_the_whole_reply(tcp, family):
    counted = Counted(tcp)
    conn = tcp.wire.connect(family)
    request, at = ask(BROKE), conn.snd_nxt
    conn.send(request)
    first = the_reply(conn)
    for _ in range(3):
        conn.put(request, seq=at)
        again = the_reply(conn)
        assert (again.seq, again.payload, again.flags) == (first.seq, first.payload, first.flags)
        assert again.times == (first.times[0], conn.tsval)
    refusal(conn)
    counted.expect(linger_reply=3)
    finish(tcp, conn, counted)


def test_reply_comes_again_when_only_a_part_was_acknowledged(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    reply = refuse(conn)
    conn.ack(ack=reply.seq + 100)
    again = the_reply(conn)
    assert (again.seq, again.payload) == (reply.seq, reply.payload)
    refusal(conn)
    finish(tcp, conn, counted)


def test_client_with_a_closed_window_is_answered_when_it_opens(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    reply = refuse(conn, window=0)  # a client would have to throw this one away
    conn.ack(ack=reply.seq, window=500)
    assert the_reply(conn).payload == reply.payload
    refusal(conn)
    finish(tcp, conn, counted)


@pytest.mark.parametrize("garbage", (b"", b"\0"), ids=("no byte", "one byte"))
@pytest.mark.parametrize("read", (False, True), ids=("unread", "read"))
def test_keepalive_probe_is_answered(tcp, garbage, read):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    reply = refuse(conn)
    if read:
        conn.ack()
        conn.probe(garbage)
        answer = conn.next("the probe's answer")
        assert not answer.payload and answer.sound
        assert (answer.seq, answer.ack) == (conn.rcv_nxt, conn.snd_nxt)
    else:
        conn.put(garbage, seq=conn.snd_nxt - 1, ack=reply.seq)
        assert the_reply(conn).payload == reply.payload
    finish(tcp, conn, counted)


def test_window_probe_of_new_data_is_answered(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    refuse(conn)
    conn.ack()
    conn.send(b"x")
    conn.until_acked()
    finish(tcp, conn, counted)


def test_rest_of_an_upload_is_swallowed_in_any_order(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    body = b"x" * 10_000
    request = post(body, BROKE)
    whole_head = request[:-len(body)]
    conn.send(whole_head)
    reply, at = the_reply(conn), conn.snd_nxt
    for n in (3, 1, 0, 2, 1):
        conn.put(body[n * 1000:n * 1000 + 1000], seq=at + n * 1000)
        again = the_reply(conn)  # not acknowledged so far
        assert again.payload == reply.payload
    conn.ack()
    for n in range(10):
        conn.put(body[n * 1000:n * 1000 + 1000], seq=at + n * 1000)
        assert conn.next("an ACK").flags & 7 == 0
    conn.snd_nxt = (at + len(body)) % WRAP
    conn.probe()
    conn.until_acked()
    finish(tcp, conn, counted)
    assert not tcp.admin()["bad"]


def test_fin_in_the_refused_segment(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    conn.send(ask(BROKE), flags=ACK | FIN)
    reply = the_reply(conn)
    assert reply.ack == conn.snd_nxt and reply.flags & FIN
    assert Response(conn).read_head().status == 429
    conn.ack()
    counted.expect(credit=1, linger_done=1)
    tcp.server_forgot(conn)
    settled(tcp)


def test_half_close_before_reading(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    reply = refuse(conn)
    conn.send(flags=ACK | FIN, ack=reply.seq)
    again = the_reply(conn)
    assert again.payload == reply.payload and again.ack == conn.snd_nxt
    refusal(conn)
    conn.ack()
    counted.expect(linger_done=1)
    tcp.server_forgot(conn)
    settled(tcp)


def test_simultaneous_close(tcp):
    """Both FINs cross: ours acknowledges the reply, not the FIN that came with it."""
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    reply = refuse(conn)
    conn.send(flags=ACK | FIN, ack=reply.end - 1)
    conn.next("our FIN's ACK", lambda s: s.ack == conn.snd_nxt)
    conn.ack()
    counted.expect(linger_done=1)
    tcp.server_forgot(conn)
    settled(tcp)


@pytest.mark.parametrize("acknowledged", (False, True))
def test_reset_by_the_client_ends_it(tcp, acknowledged):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    refuse(conn)
    if acknowledged:
        conn.ack()
    conn.reset()
    counted.expect(credit=1, linger_done=1)
    tcp.server_forgot(conn)
    settled(tcp)


def test_selective_acks_do_not_confuse_it(tcp):
    """A D-SACK for a reply that came twice (RFC 2883), in front of the time stamp too."""
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    request, at = ask(BROKE), conn.snd_nxt
    conn.send(request)
    reply = the_reply(conn)
    conn.put(request, seq=at)
    the_reply(conn)
    blocks, times = sack((reply.seq, reply.end)), timestamp(conn.tsval, conn.tsecr)
    conn.put(ack=reply.seq, options=times + blocks)
    assert the_reply(conn).payload == reply.payload
    conn.put(ack=reply.seq, options=blocks + times)
    again = the_reply(conn)
    assert again.payload == reply.payload and SACK not in again.options
    conn.ack(options=times + blocks)
    conn.probe()
    conn.next("the probe's answer", lambda s: not s.payload)
    finish(tcp, conn, counted)


def test_unknown_options_do_not_confuse_it(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    conn.send(ask(BROKE), options=option(253, b"\x12\x34\x56\x78") + timestamp(conn.tsval + 1, 0))
    assert the_reply(conn).sound
    assert Response(conn).read_head().status == 429
    finish(tcp, conn, counted)


def test_no_segment_of_the_reply_is_larger_than_the_client_takes(tcp):
    """A client with a small MSS is behind a path that carries no more; the reply says do not
    fragment."""
    counted = Counted(tcp)
    conn = tcp.wire.connect(mss=536)
    conn.send(ask(BROKE)[:500])
    conn.send(ask(BROKE)[500:])
    sizes, data = [], b""
    while not conn.peer_fin:
        sizes.append(len(the_reply(conn).payload))
    data = Response(conn).read_head()
    assert data.status == 429 and max(sizes) <= 536 - 12
    finish(tcp, conn, counted)


def test_port_is_used_again_while_the_refused_connection_lingers(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    refuse(conn)
    again = tcp.wire.connect(sport=conn.sport, isn=conn.snd_nxt + 100_000)
    assert tcp.live("acme")["connections"] == 1
    assert answered(again)["usage"]
    again.close()
    counted.expect(credit=1, admit_request=1, admit_connection=2)
    settled(tcp)


def test_second_request_of_a_connection_is_refused(tcp):
    counted = Counted(tcp)
    conn = tcp.wire.connect()
    assert answered(conn)["usage"]
    expected_seq = conn.rcv_nxt
    reply = refuse(conn)
    assert reply.seq == expected_seq
    refusal(conn)
    counted.expect(admit_request=1)
    finish(tcp, conn, counted)


# ------------------------------------------------------------- the server's end

def drop_resets(lab):
    """The server's stack does not get to see any RST, until the returned function is called."""
    lab.in_server("nft", "add table inet lossy; add chain inet lossy input "
                  "{ type filter hook input priority 0; }; "
                  "add rule inet lossy input tcp flags rst counter drop")

    def stop():
        lab.in_server("nft", "delete table inet lossy")
    return stop


def test_server_whose_reset_was_lost_is_reset_when_it_speaks(tcp):
    conn, server = tcp.connect_by_hand()
    with server:
        stop = drop_resets(tcp)
        try:
            refuse(conn)
            rules = tcp.in_server("nft", "list", "chain", "inet", "lossy", "input").stdout
            assert "packets 1 " in rules and tcp.server_states(conn) == ["ESTAB"]
        finally:
            stop()
        counted = Counted(tcp)
        server.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        tcp.server_forgot(conn)
        assert was_reset(server)
    assert counted["drop_refused_flow"] >= 1
    refusal(conn)  # and nothing of what the server said
    conn.close()
    settled(tcp)


def test_server_that_closes_a_refused_connection_is_reset(tcp):
    conn, server = tcp.connect_by_hand()
    stop = drop_resets(tcp)
    try:
        refuse(conn)
        server.close()
        assert tcp.server_states(conn) == ["FIN-WAIT-1"]
    finally:
        stop()
    tcp.server_forgot(conn)  # its FIN is resent, and answered
    refusal(conn)
    conn.close()
    settled(tcp)


def test_server_that_missed_a_part_of_the_head_challenges_the_reset(tcp):
    """The last part of the head came, the first did not: the RST is in the server's window, but not
    at the byte it waits for (RFC 5961, 3.2)."""
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    request = ask(BROKE)
    with server:
        conn.send(request[:60], bad_sum=True)
        conn.send(request[60:])
        refusal(conn)
        tcp.server_forgot(conn)
        assert was_reset(server)
    counted.expect(pass_head_part=1, drop_refused_flow=1)
    finish(tcp, conn, counted)


def test_answer_before_the_body_has_come_is_the_last(tcp):
    """Else the server might read as a request what was judged as the rest of a body."""
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    request = post(b"x" * 200)
    with server:
        conn.send(request[:-100])
        take(server, len(request) - 100)
        server.sendall(ANSWER)
        whole(conn)
        conn.send(request[-100:])
        conn.until_reset()
        assert was_reset(server)
        tcp.server_forgot(conn)
    counted.expect(admit_request=1, drop_after_answer=1)
    closed(tcp, conn)


# ------------------------------------------------------ the client kernel's TCP

@BOTH_FAMILIES
def test_kernel_client_half_closes_then_reads(tcp, family):
    counted = Counted(tcp)
    with kernel_connect(tcp, family) as sock:
        sock.sendall(ask(BROKE))
        sock.shutdown(socket.SHUT_WR)
        refusal(sock)
    counted.expect(credit=1, linger_done=1)
    settled(tcp)


def test_kernel_client_resets_without_reading(tcp):
    counted = Counted(tcp)
    sock = kernel_connect(tcp)
    sock.sendall(ask(BROKE))
    counted.expect(credit=1)
    shut(sock)
    counted.expect(linger_done=1)
    settled(tcp)


def test_kernel_client_uses_one_port_again_and_again(tcp):
    """Refused and admitted in turn; the server closes first, so its TIME_WAIT is met too."""
    counted = Counted(tcp)
    sport = 33333
    for n in range(10):
        with kernel_connect(tcp, sport=sport) as sock:
            if n % 2:
                sock.sendall(ask(BROKE))
                refusal(sock)
            else:
                sock.sendall(ask(ACME, extra=["Connection: close"]))
                assert whole(sock)["usage"] and sock.recv(1) == b""
    counted.expect(credit=5, admit_request=5, admit_connection=10)
    settled(tcp)


def test_kernel_client_with_small_segments_reads_its_refusal(tcp):
    counted = Counted(tcp)
    sock = tcp.socket()
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 600)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        sock.connect((SERVER4, PORT))
        sock.sendall(ask(BROKE))
        refusal(sock)
    counted.expect(credit=1, linger_done=1)
    settled(tcp)
