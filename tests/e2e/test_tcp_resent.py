# SPDX-License-Identifier: Apache-2.0
"""Bytes that are sent a second time. What the server has may come again as anything:
it is thrown away. What the server has not may only come as it was judged: a client
that shows one request and then puts another in its place is cut off (forms.md,
stream rule 5)."""
import pytest
from checks import events_of
from tcp_lab import (ANSWER, CHAT, OTHER, Counted, ask, closed, metered, post, settled, shared,
                     take, tcp, was_reset, whole)
from weirlab.raw_http import head
from weirlab.rawtcp import SACK, WRAP

__all__ = ["shared", "tcp"]  # fixtures


def test_acknowledged_head_resent_with_other_bytes_is_thrown_away(tcp):
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    body = b"x" * 20
    with server:
        at = conn.snd_nxt
        conn.send(post(body)[:-len(body)])
        conn.until_acked()
        conn.put(post(body, "sk-acmf")[:-len(body)], seq=at)
        assert conn.next("a D-SACK", lambda s: SACK in s.options).ack == conn.snd_nxt
        conn.send(body)
        assert take(server, len(post(body))) == post(body)
        server.sendall(ANSWER)
        whole(conn)
    conn.close()
    counted.expect(admit_request=1, pass_repeat=1, drop_changed=0)
    settled(tcp)


def broken(conn, data, how):
    """Send data in a segment that the server will not take."""
    at = {"seq": conn.snd_nxt}
    if how == "wrong checksum":
        conn.put(data, **at, bad_sum=True)
    elif how == "wrong IP checksum":
        conn.put(data, **at, bad_ip_sum=True)
    elif how == "old time stamp":  # RFC 7323 5.3
        conn.put(data, **at, tsval=conn.tsval - 100_000)
    elif how == "acknowledges what was never sent":  # RFC 5961 5.2
        conn.put(data, **at, ack=conn.rcv_nxt + 100_000)
    elif how == "no ACK flag":
        conn.put(data, **at, flags=8)


NOT_TAKEN = pytest.mark.parametrize("how", (
    "wrong checksum", "wrong IP checksum", "old time stamp", "acknowledges what was never sent",
    "no ACK flag"))


@NOT_TAKEN
def test_head_that_the_server_did_not_take_is_resent_as_it_was(tcp, how):
    counted, since = Counted(tcp), len(events_of(tcp))
    conn = tcp.wire.connect()
    request = ask()
    broken(conn, request, how)
    assert tcp.server_states(conn) == ["ESTAB"] and conn.snd_una == conn.snd_nxt
    conn.send(request)
    assert whole(conn)["usage"]
    counted.expect(admit_request=1, drop_changed=0)
    conn.close()
    metered(tcp, 1, since)
    settled(tcp)


@pytest.mark.parametrize("other", (
    "another request", "of the same length", "longer by a request", "cut", "from its middle on"))
@NOT_TAKEN
def test_other_request_in_its_place_never_reaches_the_server(tcp, how, other):
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    first = post(b"{}")
    same = post(b"{}", "sk-acmf")
    second, skip = {
        "another request": (ask(OTHER), 0),
        "of the same length": (same, 0),
        "longer by a request": (first + same, 0),
        "cut": (same[:50], 0),
        "from its middle on": (same[30:], 30),
    }[other]
    assert len(same) == len(first)
    with server:
        broken(conn, first, how)
        at = conn.snd_nxt + skip
        conn.snd_nxt = (conn.snd_nxt + len(first)) % WRAP
        conn.put(second, seq=at)
        conn.until_reset()
        assert was_reset(server)
        tcp.server_forgot(conn)
    verdict = "drop_pipelined" if other == "longer by a request" else "drop_changed"
    counted.expect(admit_request=1, **{verdict: 1})
    closed(tcp, conn)


# -------------------------------------------------------------- heads in parts

def served_as_judged(lab, conn, server, request):
    """It reached the server as it is, and is answered and over."""
    assert take(server, len(request)) == request
    server.sendall(ANSWER)
    whole(conn)


def cut_off(lab, conn, server, taken=b""):
    """Both ends closed, and the server was given no more than that."""
    conn.until_reset()
    assert not taken or take(server, len(taken)) == taken
    assert was_reset(server)
    lab.server_forgot(conn)


@pytest.mark.parametrize("lost", (0, 1), ids=("first part", "last part"))
def test_part_of_a_head_is_resent_as_it_was(tcp, lost):
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    request = post(b"{}")
    parts = request[:70], request[70:]
    with server:
        for n, part in enumerate(parts):
            at = conn.snd_nxt
            conn.send(part, bad_sum=n == lost)
            if n == lost:
                conn.put(part, seq=at)
        served_as_judged(tcp, conn, server, request)
    conn.close()
    counted.expect(pass_head_part=1, pass_repeat=1, admit_request=1, drop_changed=0)
    settled(tcp)


@pytest.mark.parametrize("complete", (False, True), ids=("before the verdict", "after it"))
def test_part_of_a_head_resent_with_other_bytes_is_cut_off(tcp, complete):
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    request, other = post(b"{}"), post(b"{}", "sk-acmf")
    cut = request.index(b"acme") + 4
    with server:
        at = conn.snd_nxt
        conn.send(request[:cut], bad_sum=True)
        if complete:
            conn.send(request[cut:], bad_sum=True)
        conn.put(other[:cut], seq=at)
        cut_off(tcp, conn, server)
    counted.expect(pass_head_part=1, drop_changed=1, admit_request=int(complete))
    closed(tcp, conn)


def test_acknowledged_part_of_a_head_may_come_again_as_anything(tcp):
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    request = post(b"{}")
    with server:
        at = conn.snd_nxt
        conn.send(request[:70])
        conn.until_acked()
        conn.put(post(b"{}", OTHER)[:70].upper(), seq=at)
        conn.next("a D-SACK", lambda s: SACK in s.options)
        conn.send(request[70:])
        served_as_judged(tcp, conn, server, request)
    conn.close()
    counted.expect(pass_head_part=1, pass_repeat=1, admit_request=1, drop_changed=0)
    settled(tcp)


# --------------------------------------------------------------------- bodies

def test_body_of_known_length_may_come_again_as_anything(tcp):
    """Nobody looks at it, and it stays a body."""
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    request, inside = post(b"x" * 300), post(b"", OTHER)
    body = (inside + b"y" * 300)[:300]
    with server:
        conn.send(request[:-300])
        at = conn.snd_nxt
        conn.send(b"x" * 300, bad_sum=True)
        conn.put(body, seq=at)
        served_as_judged(tcp, conn, server, request[:-300] + body)
        conn.send(request)
        served_as_judged(tcp, conn, server, request)
    conn.close()
    counted.expect(admit_request=2, pass_body=2, drop_changed=0)
    settled(tcp)


def chunked(*chunks):
    return b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in (*chunks, b""))


CHUNKED_HEAD = head("POST", CHAT, "sk-acme", extra=["Transfer-Encoding: chunked"])


def test_chunks_are_resent_as_they_were(tcp):
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    body = chunked(b"one", b"two" * 50, b"three")
    pieces = body[:30], body[30:100], body[100:]
    with server:
        conn.send(CHUNKED_HEAD)
        for piece in pieces:
            at = conn.snd_nxt
            conn.send(piece, bad_sum=True)
            conn.put(piece, seq=at)
        served_as_judged(tcp, conn, server, CHUNKED_HEAD + body)
    conn.close()
    counted.expect(admit_request=1, drop_changed=0, drop_bad_chunk=0)
    settled(tcp)


def test_chunks_resent_with_other_framing_are_cut_off(tcp):
    """The second reading ends the body early and begins a request where data was."""
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    hidden = post(b"", OTHER)
    shown = chunked(b"x" * (len(hidden) + 5))
    other = chunked() + hidden
    other += b"\r" * (len(shown) - len(other))
    assert len(other) == len(shown)
    with server:
        conn.send(CHUNKED_HEAD)
        conn.until_acked()
        at = conn.snd_nxt
        conn.send(shown, bad_sum=True)
        conn.put(other, seq=at)
        cut_off(tcp, conn, server, CHUNKED_HEAD)
    counted.expect(admit_request=1, drop_changed=1)
    closed(tcp, conn)


def test_head_that_was_refused_is_never_let_in_afterwards(tcp):
    """Refused, then a request that would be admitted in its place."""
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    with server:
        at = conn.snd_nxt
        conn.send(ask("sk-broke"), bad_sum=True)
        conn.next("the reply", lambda s: s.payload)
        conn.put(ask(), seq=at)
        conn.next("the reply again", lambda s: s.payload)
        assert was_reset(server)
    conn.ack()
    conn.close()
    counted.expect(credit=1, admit_request=0, linger_reply=1)
    settled(tcp)
