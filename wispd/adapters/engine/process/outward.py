"""A socket of the host's network that takes the place of one in a sandbox: same family, options and blocking."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from struct import Struct
from typing import Final

INET4: Final = Struct("<H2s4s8x")
INET6: Final = Struct("<H2sI16sI")
_INET6_MIN: Final = 24  # RFC 2133 had no scope
_MAPPED: Final = 0xFFFF << 32

_TIME: Final = 16  # sizeof(struct timeval)
# (level, option, size): what programs set before they connect
_OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 4),
    (socket.SOL_SOCKET, socket.SO_OOBINLINE, 4),
    (socket.SOL_SOCKET, 13, 8),  # LINGER
    (socket.SOL_SOCKET, socket.SO_RCVLOWAT, 4),
    (socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIME),
    (socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIME),
    (socket.IPPROTO_TCP, 1, 4),  # NODELAY
    (socket.IPPROTO_TCP, 4, 4),  # KEEPIDLE
    (socket.IPPROTO_TCP, 5, 4),  # KEEPINTVL
    (socket.IPPROTO_TCP, 6, 4),  # KEEPCNT
    (socket.IPPROTO_TCP, 7, 4),  # SYNCNT
    (socket.IPPROTO_TCP, 18, 4),  # USER_TIMEOUT
    (socket.IPPROTO_TCP, 25, 4),  # NOTSENT_LOWAT
    (socket.IPPROTO_IP, 1, 4),  # TOS
)
_OPTIONS_6: Final = ((socket.IPPROTO_IPV6, 26, 4), (socket.IPPROTO_IPV6, 67, 4))  # V6ONLY, TCLASS
_BUFFERS: Final = (socket.SO_RCVBUF, socket.SO_SNDBUF)  # the kernel doubles what is set

STATE_ESTABLISHED, STATE_SYN_SENT, STATE_CLOSE = 1, 2, 7


def parse_address(family: int, raw: bytes) -> tuple[int, int]:
    """Return (128-bit address, port) of a sockaddr for a socket of `family`.

    Raises `OSError`: EINVAL when it is too short, EAFNOSUPPORT when it is of another family.
    """
    named = int.from_bytes(raw[:2], "little")
    if named != family:
        raise OSError(errno.EAFNOSUPPORT, f"address family {named} for a socket of family {family}")
    if len(raw) < (INET4.size if family == socket.AF_INET else _INET6_MIN):
        raise OSError(errno.EINVAL, f"an address of {len(raw)} bytes")
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET:
        return int.from_bytes(raw[4:8], "big") | _MAPPED, port
    return int.from_bytes(raw[8:24], "big"), port


def build_address(family: int, address: int, port: int) -> bytes:
    """Return a sockaddr with nothing but address and port: no scope, no flow label."""
    port_bytes = port.to_bytes(2, "big")
    if family == socket.AF_INET:
        return INET4.pack(family, port_bytes, (address & 0xFFFF_FFFF).to_bytes(4, "big"))
    return INET6.pack(family, port_bytes, 0, address.to_bytes(16, "big"), 0)


def route_address(address: int) -> tuple[int, bytes]:
    """Return (family, bytes) of a 128-bit address as the routing tables know it."""
    if address >> 32 == 0xFFFF:
        return socket.AF_INET, (address & 0xFFFF_FFFF).to_bytes(4, "big")
    return socket.AF_INET6, address.to_bytes(16, "big")


def is_nonblocking(one: socket.socket) -> bool:
    return bool(fcntl.fcntl(one.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK)


def tcp_state(one: socket.socket) -> int:
    return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0]


class Twins:
    """Makes sockets like others. Knows what fresh ones look like, so that only differences are copied."""

    def __init__(self) -> None:
        self._fresh = {family: self._read(family) for family in (socket.AF_INET, socket.AF_INET6)}

    def _read(self, family: int) -> dict[tuple[int, int], bytes]:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as one:
                found = {(level, name): one.getsockopt(level, name, size) for level, name, size in _wanted(family)}
                return found | {(1, name): one.getsockopt(1, name, 4) for name in _BUFFERS}
        except OSError:
            return {}  # a host without IPv6

    def like(self, one: socket.socket) -> socket.socket:
        """Return a new non-blocking TCP socket of this process's network with the options of `one`."""
        twin = socket.socket(one.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        fresh = self._fresh[one.family]
        try:
            for level, name, size in _wanted(one.family):
                value = one.getsockopt(level, name, size)
                if value != fresh.get((level, name)):
                    twin.setsockopt(level, name, value)
            for name in _BUFFERS:
                value = one.getsockopt(1, name, 4)
                if value != fresh.get((1, name)):
                    twin.setsockopt(1, name, int.from_bytes(value, "little") // 2)
        except OSError:
            twin.close()
            raise
        return twin


def _wanted(family: int) -> tuple[tuple[int, int, int], ...]:
    return _OPTIONS + _OPTIONS_6 if family == socket.AF_INET6 else _OPTIONS
