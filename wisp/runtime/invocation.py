"""Invocation: one INVOKE frame inside the instance. Nothing of it is parsed before somebody asks."""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from wisp.runtime import frames
from wisp.runtime.frames import HTTP, INVOKE_FRAME, MORE

if TYPE_CHECKING:
    from wisp.runtime.logs import Lines

_unpack = INVOKE_FRAME.unpack_from
_BLOCK_START: Final = INVOKE_FRAME.size
_HEAD_START: Final = frames.HEADER.size


class Invocation:
    """One call. `fields` are those of INVOKE_FRAME, in its order.

    `parts` are body pieces that have come and nobody has read; `open_body` says that more will come. `done` is set
    when the outcome is on its way: nothing may be sent for this call afterwards.
    """

    __slots__ = (
        "_request",
        "cancelled",
        "credit",
        "done",
        "fields",
        "lines",
        "open_body",
        "packet",
        "parts",
        "started_ns",
        "woken",
    )

    _request: Request
    cancelled: int
    credit: int
    open_body: bool
    parts: deque[bytes]
    started_ns: int

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self.fields = _unpack(packet)
        self.lines: Lines | None = None
        self.done = False

    def prepare(self) -> None:
        """Make ready what only streams and multiplexed calls use (the hot path does without)."""
        self.cancelled = 0
        self.credit = frames.WINDOW_SIZE
        self.open_body = bool(self.fields[1] & MORE)
        self.woken: object = None
        first = self.packet[_HEAD_START + self.fields[3] :]
        self.parts = deque([first] if first else [])

    @property
    def number(self) -> int:
        return int(self.fields[4])

    @property
    def attempt(self) -> int:
        return int(self.fields[2])

    @property
    def is_http(self) -> bool:
        return bool(self.fields[1] & HTTP)

    @property
    def deadline_ns(self) -> int:
        return int(self.fields[6])

    @property
    def received_us(self) -> int:
        return int(self.fields[7])

    @property
    def id(self) -> str:
        return f"inv_{self.fields[8].hex()}"

    @property
    def request(self) -> Request:
        try:
            return self._request
        except AttributeError:
            self._request = Request(self.packet[_BLOCK_START : _HEAD_START + self.fields[3]], self.fields[9])
            return self._request

    @property
    def body(self) -> bytes:
        """The whole body; the loop has seen to it that it is complete."""
        try:
            parts = self.parts
        except AttributeError:
            return self.packet[_HEAD_START + self.fields[3] :]
        if len(parts) > 1:
            whole = b"".join(parts)
            parts.clear()
            parts.append(whole)
        return parts[0] if parts else b""


class Request:
    """The parsed request block. Header names are lower-case."""

    __slots__ = ("headers", "method", "mount", "path", "peer", "query", "target")

    def __init__(self, block: bytes, mount_length: int) -> None:
        lines = block.split(b"\r\n")
        first = lines[0].split(b" ")
        self.method = first[0].decode("latin-1")
        self.target = first[1] if len(first) > 1 else b"/"
        self.peer = first[2].decode("latin-1") if len(first) > 2 else "-"
        self.headers: list[tuple[bytes, bytes]] = []
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(b":")
                self.headers.append((name.lower(), value.strip(b" \t")))
        path, _, self.query = self.target.partition(b"?")
        self.mount = path[:mount_length]
        self.path = path[mount_length:] or b"/"  # still percent-encoded, without the mount

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a (lower-case) header."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


current: Final[ContextVar[Invocation | None]] = ContextVar("wisp_invocation", default=None)
