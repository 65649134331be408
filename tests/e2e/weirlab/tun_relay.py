# SPDX-License-Identifier: Apache-2.0
"""A wire between two tun devices, in two namespaces: what is written to the one
is read from the other. The devices live as long as it does.

  python3 -m weirlab.tun_relay NAME PATH-OF-NETNS PATH-OF-NETNS
"""
import ctypes
import fcntl
import os
import select
import struct
import sys

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000

libc = ctypes.CDLL(None, use_errno=True)


def open_tun(name, path):
    ns = os.open(path, os.O_RDONLY)
    if libc.setns(ns, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(ns)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def main(name, *paths):
    one, other = (open_tun(name, path) for path in paths)
    peer = {one: other, other: one}
    while True:
        for fd in select.select([one, other], [], [])[0]:
            try:
                os.write(peer[fd], os.read(fd, 65536))
            except BlockingIOError:
                pass  # read by nobody: no such packet
            except OSError:
                pass  # the other end is down: the packet is lost, as on a wire


if __name__ == "__main__":
    main(*sys.argv[1:])
