"""Ask the kernel where an address leads: is it one of the host's own? One netlink question, no state, always current.

Source: man rtnetlink(7).
"""

from __future__ import annotations

import errno
import os
import socket
from struct import Struct
from typing import Final

_HEADER: Final = Struct("=IHHII")  # length, type, flags, sequence, port
_ROUTE: Final = Struct("=BBBBBBBBI")  # family, prefix lengths, tos, table, protocol, scope, kind, flags
_ATTRIBUTE: Final = Struct("=HH")  # length, type
_ERROR: Final = Struct("=i")
_GET_ROUTE, _NEW_ROUTE, _REQUEST, _DESTINATION = 26, 24, 1, 1
_UNICAST: Final = 1
_TIMEOUT_S: Final = 1.0


class Routes:
    """One routing socket. Not for several threads."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.settimeout(_TIMEOUT_S)
        self._sequence = 0

    def leads_out(self, family: int, address: bytes) -> bool:
        """Does a packet to this address (4 or 16 bytes) leave the host for one other host?

        False for the host's own addresses, broadcast, multicast and forbidden routes. Raises `OSError` where there
        is no route (ENETUNREACH, EHOSTUNREACH).
        """
        self._sequence = self._sequence + 1 & 0xFFFF_FFFF
        body = _ROUTE.pack(family, len(address) * 8, 0, 0, 0, 0, 0, 0, 0)
        body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address), _DESTINATION) + address
        header = _HEADER.pack(_HEADER.size + len(body), _GET_ROUTE, _REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            answer = self._socket.recv(8192)
            _, kind, _, sequence, _ = _HEADER.unpack_from(answer)
            if sequence != self._sequence:
                continue  # a late answer to a question we gave up
            if kind == _NEW_ROUTE:
                return bool(_ROUTE.unpack_from(answer, _HEADER.size)[7] == _UNICAST)
            code = -_ERROR.unpack_from(answer, _HEADER.size)[0]
            raise OSError(code or errno.EIO, os.strerror(code))

    def close(self) -> None:
        self._socket.close()
