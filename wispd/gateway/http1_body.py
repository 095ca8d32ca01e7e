"""A request's body on its way in, whichever way its end is marked. Sans-I/O."""

from __future__ import annotations

from wispd.gateway.http1_chunked import ChunkedReader
from wispd.gateway.http1_head import CHUNKED


class BodyReader:
    """What still has to come of one body, and what came of it."""

    __slots__ = ("_chunked", "_left", "done", "length", "limit", "parts", "size", "streamed", "wanted")

    def __init__(self, length: int, *, strict: bool = True) -> None:
        self.length = length  # CHUNKED: not known
        self._left = length
        self._chunked = ChunkedReader(strict=strict) if length == CHUNKED else None
        self.wanted = False  # has the application asked for it?
        self.streamed = False
        self.limit = 0  # of a collected body
        self.parts: list[bytes] = []
        self.size = 0
        self.done = False

    def feed(self, received: bytes) -> tuple[bytes, bytes]:
        """Return the body bytes in `received` and what comes after the body. Raises: as `ChunkedReader.feed`."""
        if self._chunked is not None:
            part, rest = self._chunked.feed(received)
            self.done = self._chunked.done
        elif len(received) < self._left:
            part, rest = received, b""
            self._left -= len(received)
        else:
            part, rest = received[: self._left], received[self._left :]
            self.done = True
        self.size += len(part)
        return part, rest

    def whole(self) -> bytes:
        """Return the collected body."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
