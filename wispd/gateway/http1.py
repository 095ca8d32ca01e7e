"""HTTP/1.1 server: listening sockets, all their connections, one sweep for all their deadlines.

It is callbacks on uvloop: a request that is answered at once costs no future and no coroutine. Heads are parsed in
`http1_head`, bodies in `http1_body`, answers framed in `http1_answering`; `http1_connection` joins them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from typing import Any, Final

from msgspec import Struct

from wispd.base.clock import Clock
from wispd.gateway.http1_answer import date_line
from wispd.gateway.http1_application import Application, Exchange, Problem
from wispd.gateway.http1_connection import Connection
from wispd.gateway.http1_deadlines import Phase
from wispd.gateway.http1_head import CHUNKED, Head, HeadParser
from wispd.gateway.http1_limits import Limits
from wispd.gateway.http1_websocket import WebSocket

SWEEP_S: Final = 0.5  # how often `HttpServer.sweep` wants to be called
_BACKLOG: Final = 4_096


class HttpStatistics(Struct, frozen=True, kw_only=True):
    """Counters since the start; `connections` and `busy` are now."""

    connections: int
    busy: int
    accepted: int
    requests: int
    refused: int
    expired: int
    websockets: int  # now


class HttpServer:
    """All connections of one door. Call `sweep` every SWEEP_S."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        application: Application,
        *,
        limits: Limits | None = None,
        heads: HeadParser | None = None,
    ) -> None:
        self.loop = loop
        self._clock = clock
        self.application = application
        self.limits = limits or Limits()
        self.heads = heads or HeadParser(self.limits)
        self.draining = False
        self.date = b""
        self.refused = 0
        self.expired = 0
        self._accepted = 0
        self._served = 0  # by connections that are gone
        self._connections: set[Connection | WebSocket] = set()
        self._peers: Counter[bytes] = Counter()
        self._listeners: list[asyncio.AbstractServer] = []
        self._tick()

    async def listen(self, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections of a bound socket (TCP or Unix) from now on."""
        secured: dict[str, Any] = {}
        if tls is not None:
            secured = {
                "ssl": tls,
                "ssl_handshake_timeout": self.limits.head_s,
                "ssl_shutdown_timeout": self.limits.linger_s,
            }
        if listening.family == socket.AF_UNIX:
            server = await self.loop.create_unix_server(self.connection, sock=listening, backlog=_BACKLOG)
        else:
            server = await self.loop.create_server(self.connection, sock=listening, backlog=_BACKLOG, **secured)
        self._listeners.append(server)

    def connection(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self)

    def joined(self, connection: Connection) -> bool:
        """Count a connection; False if it is one too many."""
        self._accepted += 1
        limits = self.limits
        peer = connection.peer
        if limits.connections_per_peer:
            if self._peers[peer] >= limits.connections_per_peer:
                return False
            self._peers[peer] += 1
        full = len(self._connections) >= limits.connections
        self._connections.add(connection)  # also one too many: it is swept until it is gone
        return not full

    def switched(self, connection: Connection, socket: WebSocket) -> None:
        """A WebSocket has taken the place of a connection."""
        self._connections.discard(connection)
        self._served += connection.served
        self._connections.add(socket)

    def left(self, connection: Connection | WebSocket) -> None:
        """A connection is gone."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._served += connection.served
        if self.limits.connections_per_peer:
            self._peers[connection.peer] -= 1
            if not self._peers[connection.peer]:
                del self._peers[connection.peer]

    def sweep(self) -> None:
        """Set the Date, and end what is past its deadline. O(connections)."""
        self._tick()
        now_ns = self._clock.monotonic_ns()
        for connection in list(self._connections):
            connection.sweep(now_ns)

    def _tick(self) -> None:
        self.date = date_line(self._clock.unix_ns() // 1_000_000_000)

    def drain(self) -> None:
        """Take no new requests: idle connections close, others after their answer; new requests get `draining`.

        Idempotent. The listening sockets stay open, so that nobody is refused without a word; see `busy`.
        """
        self.draining = True
        for connection in list(self._connections):
            connection.retire()

    @property
    def busy(self) -> int:
        """Requests that are being received or answered."""
        return sum(connection.phase is Phase.BUSY for connection in self._connections)

    def close(self) -> None:
        """Stop listening and drop every connection. Idempotent."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for connection in list(self._connections):
            connection.drop()

    def statistics(self) -> HttpStatistics:
        """Return the counters."""
        return HttpStatistics(
            connections=len(self._connections),
            busy=self.busy,
            accepted=self._accepted,
            requests=self._served + sum(connection.served for connection in self._connections),
            refused=self.refused,
            expired=self.expired,
            websockets=sum(isinstance(connection, WebSocket) for connection in self._connections),
        )


__all__ = [
    "CHUNKED",
    "SWEEP_S",
    "Application",
    "Exchange",
    "Head",
    "HeadParser",
    "HttpServer",
    "HttpStatistics",
    "Limits",
    "Problem",
]
