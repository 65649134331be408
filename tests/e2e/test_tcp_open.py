# SPDX-License-Identifier: Apache-2.0
"""How connections begin: SYNs resent, old or with options that would carry a request
past the gate; half-open ones; and, in a laboratory of their own that ages while
the others are tested, those that only time ends."""
import socket
import time

import pytest
from tcp_lab import (ACME, ANSWER, BOTH_FAMILIES, BROKE, BY_HAND, UNGUARDED, Counted, TcpLab,
                     answered, ask, kernel_connect, post, refusal, settled, shared, take, tcp,
                     whole)
from weirlab import wait_for
from weirlab.lab import PORT, SERVER4
from weirlab.rawtcp import ACK, FASTOPEN, MPTCP, RST, SYN, listen, option, socket_in

__all__ = ["shared", "tcp"]  # fixtures

IPPROTO_MPTCP = 262
MP_CAPABLE = option(MPTCP, b"\x01\x01")  # version 1, HMAC-SHA256; RFC 8684 3.1
COOKIE_REQUEST = option(FASTOPEN)  # RFC 7413 2.1.1
HALF_OPEN_S, LINGER_S, SWEEP_S = 5, 20, 1


# ------------------------------------------------------------ what needs time

class Aged:
    """Connections of each kind that only time ends. Begun before anything else in this file,
    looked at last."""

    def __init__(self, lab):
        self.lab = lab
        lab.guard()
        self.counted = Counted(lab)
        self.half_open = self._half_open()
        self.late, self.direct = self._half_open(), self._half_open()
        lab.in_server("sysctl", "-qw", "net.ipv4.tcp_syncookies=2")  # for each SYN, no memory
        self.cookie = self._half_open()
        lab.in_server("sysctl", "-qw", "net.ipv4.tcp_syncookies=1")
        self.silent, self.probing = self._refused(), self._refused()
        self.began = time.monotonic()
        self.kernel_refused = self._keepalive(PORT)
        self.kernel_refused.sendall(ask(BROKE))
        with listen(lab, BY_HAND) as listener:
            self.kernel_admitted = self._keepalive(BY_HAND)
            self.server, _ = listener.accept()
        self.ask_by_hand()

    def ask_by_hand(self):
        self.kernel_admitted.sendall(post(b"{}"))
        assert take(self.server, len(post(b"{}"))) == post(b"{}")
        self.server.sendall(ANSWER)
        whole(self.kernel_admitted)

    def _half_open(self):
        conn = self.lab.wire.raw()
        conn.syn()
        conn.syn_ack()
        return conn

    def _refused(self):
        """Reads its answer, and never closes."""
        conn = self.lab.wire.connect()
        conn.send(ask(BROKE))
        conn.next("the reply", lambda s: s.payload)
        conn.ack()
        return conn

    def _keepalive(self, port):
        """The client kernel's, probed each second when idle."""
        sock = kernel_connect(self.lab, port=port)
        for name, value in (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 2)):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return sock

    def until(self, seconds, condition, what):
        left = self.began + seconds - time.monotonic()
        wait_for(condition, what, max(left, 0) + SWEEP_S + 2, every=0.1)


@pytest.fixture(scope="module", autouse=True)
def aged():
    with TcpLab() as lab:
        yield Aged(lab)
    assert lab.leftovers() == []


# ------------------------------------------------------------------------ SYNs

@BOTH_FAMILIES
def test_syn_that_is_resent_is_counted_once(tcp, family):
    counted = Counted(tcp)
    conn = tcp.wire.raw(family)
    for _ in range(3):
        conn.syn()
        conn.syn_ack()
    assert tcp.live("acme")["connections"] == 1
    conn.ack()
    conn.put()  # the handshake's ACK, twice
    assert answered(conn)["usage"]
    conn.close()
    counted.expect(admit_connection=1, flow_new=1, flow_gone=1, close_released=1)
    settled(tcp)


def test_handshake_is_completed_by_the_request_itself(tcp):
    """The ACK of the SYN-ACK is lost; the first segment with data carries it (RFC 9293 3.5)."""
    counted = Counted(tcp)
    conn = tcp.wire.raw()
    conn.syn()
    conn.syn_ack()
    assert answered(conn)["usage"]
    conn.close()
    counted.expect(admit_connection=1, admit_request=1, flow_new=1)
    settled(tcp)


def test_client_that_resets_during_the_handshake(tcp):
    conn = tcp.wire.raw()
    conn.syn()
    conn.syn_ack()
    conn.put(flags=RST, seq=conn.snd_nxt)
    again = tcp.wire.connect(sport=conn.sport, isn=conn.snd_nxt + 5)
    assert tcp.live("acme")["connections"] == 1
    assert answered(again)["usage"]
    again.close()
    settled(tcp)


@pytest.mark.parametrize("off", (0, 100_000, -100_000), ids=("same number", "newer", "older"))
@pytest.mark.parametrize("busy", (False, True), ids=("idle", "in flight"))
def test_syn_on_a_live_connection_is_challenged_and_harms_nothing(tcp, off, busy):
    counted = Counted(tcp)
    conn, server = tcp.connect_by_hand()
    with server:
        if busy:
            conn.send(post(b"{}"))
            take(server, len(post(b"{}")))
            conn.until_acked()
        conn.put(flags=SYN, seq=conn.snd_nxt + off, options=b"")
        challenge = conn.next("a challenge ACK")
        assert (challenge.ack, challenge.flags) == (conn.snd_nxt, ACK)
        if not busy:
            conn.send(post(b"{}"))
            take(server, len(post(b"{}")))
        assert (tcp.live("acme")["connections"], tcp.live("acme")["inflight"]) == (1, 1)
        server.sendall(ANSWER)
        whole(conn)
        wait_for(lambda: tcp.live("acme")["inflight"] == 0, "the place in flight")
    conn.close()
    counted.expect(admit_connection=1, admit_request=1, flow_new=1)
    settled(tcp)


# ------------------------------------------- options that would slip by the gate

def syn_ack_of(lab, port, family, extra, data=b""):
    conn = lab.wire.raw(family, port, extra=extra)
    conn.syn(payload=data)
    return conn, conn.syn_ack()


@BOTH_FAMILIES
def test_fast_open_cookie_is_never_asked_for(tcp, family):
    with listen(tcp, UNGUARDED, family):
        conn, answer = syn_ack_of(tcp, UNGUARDED, family, COOKIE_REQUEST)
        assert FASTOPEN in answer.options, "this server does not do fast open at all"
        conn.drop()
    counted = Counted(tcp)
    conn, answer = syn_ack_of(tcp, PORT, family, COOKIE_REQUEST)
    assert FASTOPEN not in answer.options
    conn.ack()
    assert answered(conn)["usage"]
    conn.close()
    counted.expect(strip_option=1, admit_connection=1, admit_request=1)
    settled(tcp)


def fast_open_cookie(lab, family):
    """A good one: they are of the server's key and the client's address, not of the port."""
    with listen(lab, UNGUARDED, family):
        conn, answer = syn_ack_of(lab, UNGUARDED, family, COOKIE_REQUEST)
        conn.drop()
    return answer.options[FASTOPEN]


@BOTH_FAMILIES
def test_fast_open_data_is_dropped_and_the_plain_syn_after_it_works(tcp, family):
    cookie = fast_open_cookie(tcp, family)
    assert len(cookie) >= 4
    counted = Counted(tcp)
    conn = tcp.wire.raw(family, extra=option(FASTOPEN, cookie))
    conn.syn(payload=ask())
    counted.expect(drop_tfo_data=1, admit_connection=0)
    plain = tcp.wire.connect(family, sport=conn.sport, isn=conn.isn)
    assert answered(plain)["usage"]
    plain.close()
    counted.expect(drop_tfo_data=1, admit_connection=1, admit_request=1)
    settled(tcp)


@BOTH_FAMILIES
def test_mptcp_falls_back_to_tcp(tcp, family):
    """Else a second subflow could bring requests that nobody reads in order."""
    with listen(tcp, UNGUARDED, family, IPPROTO_MPTCP):
        conn, answer = syn_ack_of(tcp, UNGUARDED, family, MP_CAPABLE)
        assert MPTCP in answer.options, "this kernel does not do MPTCP at all"
        conn.drop()
    counted = Counted(tcp)
    with listen(tcp, BY_HAND, family, IPPROTO_MPTCP) as listener:
        conn, answer = syn_ack_of(tcp, BY_HAND, family, MP_CAPABLE)
        assert MPTCP not in answer.options
        conn.ack()
        server, _ = listener.accept()
    with server:
        conn.send(post(b"{}"))
        assert take(server, len(post(b"{}"))) == post(b"{}")
        server.sendall(ANSWER)
        whole(conn)
    conn.close()
    counted.expect(strip_option=1, admit_connection=1, admit_request=1)
    settled(tcp)


def test_options_beside_the_stripped_ones_are_kept(tcp):
    """What is taken out leaves no-operations behind, and a right checksum."""
    counted = Counted(tcp)
    conn, answer = syn_ack_of(tcp, PORT, 4, MP_CAPABLE + COOKIE_REQUEST)
    assert answer.times and answer.times[1] == conn.tsval
    assert {2, 3, 4, 8} <= set(answer.options)
    conn.ack()
    assert answered(conn)["usage"]
    conn.close()
    counted.expect(admit_request=1)
    assert counted["strip_option"] >= 1
    settled(tcp)


@pytest.mark.parametrize("key", (ACME, BROKE))
def test_kernel_client_with_fast_open_is_judged(tcp, key):
    """Data in its SYN whether it has a cookie or not (sysctl 4): dropped; the kernel falls back."""
    counted = Counted(tcp)
    tcp.in_client("sysctl", "-qw", "net.ipv4.tcp_fastopen=0x5")
    with tcp.socket() as sock:
        request = ask(key)
        assert sock.sendto(request, socket.MSG_FASTOPEN, (SERVER4, PORT)) == len(request)
        if key == ACME:
            assert whole(sock)["usage"]
        else:
            refusal(sock)
    counted.expect(drop_tfo_data=1, admit_connection=1, admit_request=int(key == ACME))
    settled(tcp)


def test_kernel_client_with_mptcp_is_judged(tcp):
    counted = Counted(tcp)
    with listen(tcp, BY_HAND, 4, IPPROTO_MPTCP) as listener:
        with socket_in(tcp.client_ns, socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as sock:
            sock.settimeout(5)
            sock.connect((SERVER4, BY_HAND))
            server, _ = listener.accept()
            with server:
                sock.sendall(post(b"{}"))
                assert take(server, len(post(b"{}"))) == post(b"{}")
                server.sendall(ANSWER)
                whole(sock)
    counted.expect(strip_option=1, admit_connection=1, admit_request=1)
    settled(tcp)


# ------------------------------------------------------------ what time has ended

def test_half_open_connection_gives_its_place_back(aged):
    lab = aged.lab
    aged.until(HALF_OPEN_S, lambda: aged.counted["half_open_expired"] == 4, "half-open ones")
    assert lab.live("acme")["connections"] == 1  # the kernel client's


def test_handshake_that_is_completed_late_is_judged_nevertheless(aged):
    """The SYN-ACK was lost so often that the place was given back."""
    lab = aged.lab
    aged.until(HALF_OPEN_S, lambda: aged.counted["half_open_expired"] == 4, "half-open ones")
    counted, conn = Counted(lab), aged.late
    assert lab.server_states(conn) == ["SYN-RECV"]
    conn.ack()
    wait_for(lambda: lab.server_states(conn) == ["ESTAB"], "the server")
    assert answered(conn)["usage"]
    counted.expect(flow_adopted=1, admit_request=1)
    assert lab.live("acme")["connections"] == 2
    conn.sendall(ask(BROKE))
    refusal(conn)
    conn.close()
    counted.expect(credit=1)


@pytest.mark.parametrize("kept", (True, False), ids=("queued", "SYN cookie"))
def test_late_handshake_completed_by_a_request(aged, kept):
    """No ACK by itself comes before it, so the server has no connection yet when it is read."""
    lab, conn = aged.lab, aged.direct if kept else aged.cookie
    aged.until(HALF_OPEN_S, lambda: aged.counted["half_open_expired"] == 4, "half-open ones")
    assert lab.server_states(conn) == (["SYN-RECV"] if kept else [])
    counted = Counted(lab)
    conn.sendall(ask(BROKE))
    refusal(conn)
    conn.close()
    counted.expect(credit=1)
    assert not lab.served(BROKE)
    lab.server_forgot(conn)


def test_keepalive_of_the_clients_kernel_is_answered(aged):
    """Two probes unanswered in a row would have ended either."""
    lab = aged.lab
    aged.until(5, lambda: aged.counted["linger_ack"] >= 3, "probes of a refused connection")
    refusal(aged.kernel_refused)
    aged.kernel_refused.close()
    aged.ask_by_hand()
    aged.kernel_admitted.close()
    aged.server.close()
    wait_for(lambda: lab.live("acme")["connections"] == 0, "connections")


def test_refused_client_that_never_closes_is_reset_in_the_end(aged):
    lab, conn = aged.lab, aged.probing

    def reset():
        conn.probe(b"")
        return conn.next("an answer").flags & RST
    aged.until(LINGER_S, reset, "the RST")
    assert time.monotonic() - aged.began >= LINGER_S - 1
    wait_for(lambda: lab.ctl("status")["flows"]["used"] == 0, "the silent one's entry")
    aged.silent.probe(b"")
    assert aged.silent.next("a RST").flags & RST
    settled(lab)
