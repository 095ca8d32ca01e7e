"""Network namespaces for members, made ahead and used again: to make and to destroy one costs the kernel 4 ms.

Only where the launcher is root: then no member can change anything in one (its uid is nobody's there), and what is
left of a former instance are at most its sockets, which are looked for before the next one gets it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import Final

from wispd.adapters.engine.process import kernel

SPARE_MAX: Final = 64
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP_RUNNING: Final = 0x41


class Networks:
    """Empty network namespaces, loopback up, as descriptors. Leaves the calling thread's own for moments."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._spare: list[int] = []

    def take(self) -> int:
        """A namespace nobody is in. Raises `OSError`."""
        return self._spare.pop() if self._spare else self._make()

    def give_back(self, network: int) -> None:
        """Take back one whose processes are all gone; it is used again if not even a socket is left in it."""
        if len(self._spare) < SPARE_MAX and self._clean(network):
            self._spare.append(network)
        else:
            os.close(network)

    def _make(self) -> int:
        kernel.unshare(kernel.NEWNET)
        try:
            loopback_up()
            return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            self._return()

    def _clean(self, network: int) -> bool:
        try:
            kernel.setns(network, kernel.NEWNET)
            try:
                with open("/proc/self/net/sockstat", "rb") as file:
                    four = file.read()
                with open("/proc/self/net/sockstat6", "rb") as file:
                    six = file.read()
            finally:
                self._return()
        except OSError:
            return False
        return sockets_left(four + six) == 0

    def _return(self) -> None:
        try:
            kernel.setns(self._home, kernel.NEWNET)
        except OSError:  # pragma: no cover - never seen; a launcher lost in a sandbox must not go on
            os._exit(70)


def sockets_left(sockstat: bytes) -> int:
    """How many sockets a namespace still has, waiting ones included.

    `sockstat`: the text of /proc/net/sockstat and sockstat6. Its first line and the word `orphan` tell of the whole
    host; "TCP: inuse 0 orphan 0 tw 0 …" and "TCP6: inuse 0" of the namespace.
    """
    count = 0
    for line in sockstat.decode("ascii", "replace").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if name != "sockets":
            count += sum(int(words[i + 1]) for i, word in enumerate(words[:-1]) if word in {"inuse", "tw"})
    return count


def loopback_up() -> None:
    """Bring the loopback of the caller's network namespace up. Needs CAP_NET_ADMIN there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING))
