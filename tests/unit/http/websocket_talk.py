"""A client and its WebSocket on a played door."""

from __future__ import annotations

from typing import Any

from http_harness import Gate, published
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event

from wisp.runtime.messages import CLOSE, PartReader, parse_close
from wispd.model.invocation import Invocation

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3
OFFER = [
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
]
HIDDEN = b"GET /fn/hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


def offer(*lines: str, path: str = "/fn/hello/chat", without: str = "", host: str = "localhost") -> bytes:
    kept = [line for line in OFFER if not without or not line.startswith(without)]
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *kept, *lines, "", ""]).encode()


class Talk:
    """A client and its WebSocket on a played door."""

    def __init__(self, gate: Gate, *lines: str, block: bytes = b"", accept: bool = True) -> None:
        self.gate = gate
        gate.calls.keep = True
        self.wire = gate.talk(offer(*lines))
        self.client = Connection(ConnectionType.CLIENT)
        self.invocation: Invocation = gate.calls.invocations[-1]
        self.seen = 0
        if accept:
            self.invocation.sink.head(self.invocation, 101, block, b"", True)
            self.seen = len(self.wire.out)

    def send(self, event: Event) -> None:
        self.raw(self.client.send(event))

    def raw(self, data: bytes) -> None:
        self.gate.send(self.wire, bytes(data))

    def heard(self) -> list[Event]:
        """What the client got since the last time."""
        data = bytes(self.wire.out[self.seen :])
        self.seen = len(self.wire.out)
        self.client.receive_data(data)
        return list(self.client.events())

    def say(self, *parts: bytes, more: bool = True) -> None:
        """What the instance says."""
        sink = self.invocation.sink
        sink.chunk(self.invocation, b"".join(parts), more)

    def told(self) -> list[tuple[int, bytes, bool]]:
        """What the instance was told."""
        reader = PartReader()
        reader.feed(b"".join(chunk for chunk, _ in self.gate.calls.fed))
        return [(part.kind, part.body, part.last) for part in iter(reader.take, None)]

    @property
    def last_told(self) -> tuple[int, str]:
        kind, body, _ = self.told()[-1]
        assert kind == CLOSE
        return parse_close(body)


def gate(**settings: Any) -> Gate:
    return Gate(published(dialect="asgi", concurrency=64), **settings)


def closes(events: list[Event]) -> list[tuple[int, str]]:
    return [(int(event.code), event.reason or "") for event in events if isinstance(event, CloseConnection)]
