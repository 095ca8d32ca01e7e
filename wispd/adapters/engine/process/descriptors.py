"""Packets with descriptors over Unix sockets, without leaks: whatever does not fit is closed."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

_INT: Final = array.array("i").itemsize
_CREDENTIALS: Final = struct.Struct("3i")
DESCRIPTORS_MAX: Final = 8
SCM_CREDENTIALS: Final = getattr(socket, "SCM_CREDENTIALS", 2)
SO_PASSCRED: Final = getattr(socket, "SO_PASSCRED", 16)
_ANCILLARY: Final = socket.CMSG_SPACE(DESCRIPTORS_MAX * _INT) + socket.CMSG_SPACE(_CREDENTIALS.size)


class Packet(NamedTuple):
    """One received packet. The receiver owns `descriptors` (close-on-exec); `pid` is 0 without credentials."""

    content: bytes
    descriptors: list[int]
    pid: int


class PacketError(ValueError):
    """A packet was longer than asked for, or carried more descriptors than allowed. All of them are closed."""


def send(link: socket.socket, content: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one packet; the descriptors stay the caller's. Raises `OSError`: `BlockingIOError` without room."""
    if descriptors:
        link.sendmsg([content], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])
    else:
        link.send(content)


def receive(link: socket.socket, size_max: int) -> Packet:
    """Receive one packet; empty content means the end.

    Raises: `PacketError` for a cut packet, `BlockingIOError` when there is none.
    """
    content, ancillary, flags, _ = link.recvmsg(size_max, _ANCILLARY, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    received: list[int] = []
    pid = 0
    for level, kind, payload in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(payload[: len(payload) - len(payload) % _INT])
            received.extend(numbers)
        elif kind == SCM_CREDENTIALS and len(payload) >= _CREDENTIALS.size:
            pid = _CREDENTIALS.unpack(payload[: _CREDENTIALS.size])[0]
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(received)
        raise PacketError(f"packet longer than {size_max} bytes, or with more than {DESCRIPTORS_MAX} descriptors")
    return Packet(content, received, pid)


def close_all(numbers: Iterable[int]) -> None:
    """Close descriptors, whatever state they are in."""
    for number in numbers:
        with contextlib.suppress(OSError):
            os.close(number)


def packet_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected SEQPACKET sockets."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
