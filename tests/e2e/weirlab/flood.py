# SPDX-License-Identifier: Apache-2.0
"""SYNs by the thousand, from addresses that nobody has: frames made beforehand, sent
as fast as one socket takes them."""
import errno
import ipaddress
import random
import socket
import struct
import time

from .lab import PORT, SERVER4
from .rawtcp import MSS, SYN, checksum, option, socket_in


def syn(mac, server_mac, source, sport, port=PORT):
    """An Ethernet frame with a SYN, as a client sends it."""
    options = option(MSS, struct.pack("!H", 1460))
    src, dst = socket.inet_aton(source), socket.inet_aton(SERVER4)
    tcp = struct.pack("!HHIIBBHHH", sport, port, random.getrandbits(32), 0,
                      (20 + len(options)) << 2, SYN, 65535, 0, 0) + options
    tcp = tcp[:16] + struct.pack("!H", checksum(src + dst + struct.pack("!II", len(tcp), 6) +
                                                tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + src + dst
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return server_mac + mac + b"\x08\x00" + ip + tcp


class Flood:
    """n SYNs from random hosts and ports of each prefix."""

    def __init__(self, wire, n, *prefixes):
        picked = set()
        for prefix in prefixes:
            wire.reach(prefix)
            hosts = ipaddress.ip_network(prefix)
            have = len(picked)
            while len(picked) < have + n:
                picked.add((str(hosts[random.randrange(1, hosts.num_addresses - 1)]),
                            random.randrange(1024, 65536)))
        self.frames = [syn(wire.mac, wire.server_mac, *one) for one in picked]
        random.shuffle(self.frames)
        self._sock = socket_in(wire.lab.client_ns, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._sock.bind(("eth0", 0x0800))

    def send(self, between=lambda: None, every=1000):
        """All of them; between() is called each `every` frames."""
        for at in range(0, len(self.frames), every):
            for frame in self.frames[at:at + every]:
                self._put(frame)
            between()
        self._sock.close()

    def _put(self, frame):
        while True:
            try:
                self._sock.send(frame)
                return
            except OSError as e:
                if e.errno != errno.ENOBUFS:  # the peer's queue is full: its CPU is behind
                    raise
                time.sleep(0.001)
