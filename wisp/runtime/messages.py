"""Messages of a WebSocket inside of BODY frames: the envelope that both sides of a link use. Sans-I/O.

The bodies of a WebSocket's call are two byte streams, cut into BODY frames anywhere. Each is a row of parts:

    offset  size  field
    0       1     kind    1 text, 2 binary, 8 close; bit 7: the message goes on in the next part
    1       4     length  bytes that follow, little-endian

A message is one part or several of the same kind, the last without bit 7. Text is UTF-8 as a whole; a part may end
inside of a character. The bytes of a close are its code (u16, little-endian) and its reason (UTF-8); it comes
once and last, perhaps in the middle of a message, and has one part. ``docs/wire.md`` documents it.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from wisp.runtime.frames import FrameError

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
GOES_ON: Final = 0x80

PART: Final = Struct("<BI")
CLOSE_CODE: Final = Struct("<H")
CLOSE_MAX: Final = 125  # code and reason: RFC 6455 §5.5
PART_MAX: Final = 0xFFFF_FFFF


class Part(NamedTuple):
    """Some bytes of a message, as soon as they are there. `last`: they complete it."""

    kind: int
    body: bytes
    last: bool


def pack_part(kind: int, body: bytes, *, last: bool = True) -> bytes:
    """Return one part as it travels. `body` has at most PART_MAX bytes."""
    return PART.pack(kind if last else kind | GOES_ON, len(body)) + body


def pack_close(code: int, reason: str) -> bytes:
    """Return a close; a reason that is too long is cut."""
    text = reason.encode("utf-8", "replace")[: CLOSE_MAX - CLOSE_CODE.size].decode("utf-8", "ignore").encode()
    return pack_part(CLOSE, CLOSE_CODE.pack(code) + text)


def parse_close(body: bytes) -> tuple[int, str]:
    """Return code and reason. Raises: `FrameError` for a code that no close frame may carry."""
    if not CLOSE_CODE.size <= len(body) <= CLOSE_MAX:
        raise FrameError(f"close of {len(body)} bytes, {CLOSE_CODE.size} to {CLOSE_MAX} are allowed")
    (code,) = CLOSE_CODE.unpack_from(body)
    if not 1000 <= code <= 4999:
        raise FrameError(f"close with code {code}")
    try:
        return code, body[CLOSE_CODE.size :].decode()
    except UnicodeDecodeError as error:
        raise FrameError(f"the reason of a close is not UTF-8: {error}") from None


class PartReader:
    """Takes a stream of parts apart, whatever pieces it arrives in. It holds no more than what it was fed.

    Text and binary parts are given out piece by piece, as their bytes come; a close is given out whole.
    """

    __slots__ = ("_buffer", "_closed", "_kind", "_last", "_left", "_offset", "_open")

    def __init__(self) -> None:
        self._buffer = b""
        self._offset = 0
        self._kind = 0  # of the part being read, 0 between two
        self._left = 0  # bytes it still has to come
        self._last = True  # does it complete its message?
        self._open = 0  # kind of a message that goes on in the next part
        self._closed = False

    def feed(self, piece: bytes | memoryview) -> None:
        """Add bytes; `take` gives them out."""
        rest = self._buffer[self._offset :]
        self._buffer = b"".join((rest, piece)) if rest else bytes(piece)
        self._offset = 0

    @property
    def whole(self) -> bool:
        """Would the stream end here between two messages?"""
        return not self._kind and not self._open and self._offset == len(self._buffer)

    def take(self) -> Part | None:
        """Return the next bytes of a message; None: more have to come.

        Raises: `FrameError` for an unknown kind, a change of kind inside of a message, a close that is too long or in
        parts, and anything behind a close.
        """
        if not self._kind and not self._header():
            return None
        available = len(self._buffer) - self._offset
        if (self._left and not available) or (self._kind == CLOSE and available < self._left):
            return None
        size = min(available, self._left)
        body = self._buffer[self._offset : self._offset + size]
        self._offset += size
        self._left -= size
        kind, done = self._kind, not self._left
        last = done and self._last
        if done:
            self._open = 0 if self._last else kind  # a close breaks a message off
            self._kind = 0
            self._closed = kind == CLOSE
        return Part(kind, body, last)

    def _header(self) -> bool:
        if self._closed and self._offset < len(self._buffer):
            raise FrameError("bytes behind a close")
        if len(self._buffer) - self._offset < PART.size:
            return False
        first, self._left = PART.unpack_from(self._buffer, self._offset)
        self._offset += PART.size
        kind, goes_on = first & ~GOES_ON, bool(first & GOES_ON)
        if kind not in (TEXT, BINARY, CLOSE):
            raise FrameError(f"message part of kind {kind}")
        if self._open and kind not in (self._open, CLOSE):
            raise FrameError(f"part of kind {kind} inside of a message of kind {self._open}")
        if kind == CLOSE and (goes_on or self._left > CLOSE_MAX):
            raise FrameError(f"close of {self._left} bytes, limit {CLOSE_MAX}")
        self._kind, self._last = kind, not goes_on
        return True
