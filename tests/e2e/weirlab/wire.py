# SPDX-License-Identifier: Apache-2.0
"""Bytes onto a connection exactly as given, in the segments given: the next one
goes out when the one before was acknowledged."""
import fcntl
import re
import select
import socket
import struct
import time

from .lab import LabError, wait_for

SIOCOUTQ = 0x5411  # bytes not acknowledged yet


class Wait:
    """Among the parts to send: go on when the answer to what was sent is there."""


ANSWER = Wait()


def unacknowledged(sock):
    return struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQ, b"\0\0\0\0"))[0]


def answers(data, methods=()):
    """Final answers in data that are whole; those to HEAD have no body."""
    count, at = 0, 0
    while (end := data.find(b"\r\n\r\n", at)) >= 0:
        head = data[at:end].lower()
        at = end + 4
        status = re.match(rb"http/1\.[01] (\d{3})", head)
        if not status:
            break
        if status[1].startswith(b"1"):
            continue
        length = re.search(rb"\r\ncontent-length: *(\d+)", head)
        bodiless = status[1] in (b"204", b"304") or methods[count:count + 1] == ["HEAD"]
        if bodiless:
            pass
        elif length:
            at += int(length[1])
        elif b"\r\ntransfer-encoding: chunked" in head:
            end = data.find(b"0\r\n\r\n", at)
            at = end + 5 if end >= 0 else len(data) + 1
        else:
            break  # it ends with the connection
        if at > len(data):
            break
        count += 1
    return count


class Exchange:
    """One connection; received: all that came back. ended: "", "closed" or "reset"."""

    def __init__(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.received, self.ended = sock, b"", ""
        self.large = False
        self.peer = "%s:%d" % sock.getsockname()[:2]

    def send(self, parts, seconds=5):
        """False: the connection ended before all was sent."""
        awaited = 0
        for part in parts:
            if part is ANSWER:
                awaited += 1
                self._until(lambda: answers(self.received) >= awaited, "an answer", seconds)
            else:
                self.large |= len(part) > 16384
                try:
                    self.sock.sendall(part)
                except (ConnectionResetError, BrokenPipeError):
                    self.ended = self.ended or "reset"
                self._until(lambda: not unacknowledged(self.sock), "an acknowledgement", seconds)
            if self.ended:
                return False
        return True

    def _until(self, done, what, seconds):
        def over():
            self.take()
            return self.ended or done()
        wait_for(over, what, seconds, every=0.0005)

    def take(self, wait=0):
        """What is there to be read, without waiting longer than `wait` for the first of it."""
        while not self.ended and select.select([self.sock], [], [], wait)[0]:
            wait = 0
            try:
                data = self.sock.recv(1 << 20)
            except ConnectionError:
                self.ended = "reset"
                return
            if not data:
                self.ended = "closed"
            self.received += data

    def finish(self, origin, mark, seconds=5):
        """Let the server do all it will do with what it has, end our side, and read to the end."""
        deadline = time.monotonic() + seconds
        last = None
        while not self.ended:
            self.take()
            origin.caught_up(self.peer, self.large)
            seen = origin.seen(self.peer, mark)
            owed = sum(r.body is not None for r in seen)
            now = (len(self.received), len(seen), owed)
            if answers(self.received, [r.method for r in seen]) >= owed and now == last:
                break
            last = now
            if time.monotonic() > deadline:
                raise LabError(f"{origin.stack} owes answers: {seen}, sent {self.received!r}")
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it ended meanwhile
        while not self.ended:
            self.take(wait=0.05)
            if time.monotonic() > deadline:
                raise LabError(f"{origin.stack} does not close: sent {self.received!r}")
        self.sock.close()
        origin.caught_up(self.peer)
