"""Invocation: one INVOKE frame inside the instance. Nothing of it is parsed before somebody asks."""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from wisp.runtime import frames
from wisp.runtime.frames import HTTP, INVOKE_FRAME, MORE, SECURE, WEBSOCKET

if TYPE_CHECKING:
    from wisp.runtime.logs import Lines

_unpack = INVOKE_FRAME.unpack_from
_BLOCK_START: Final = INVOKE_FRAME.size
_HEAD_START: Final = frames.HEADER.size
NEVER: Final = (1 << 63) - 1  # a deadline on the monotonic clock, in nanoseconds


class Invocation:
    """One call.

    `parts` are body pieces that have come and nobody has read; `open_body` says that more will come. `done` is set
    when the outcome is on its way: nothing may be sent for this call afterwards. Defaults sit on the class: a call on
    the hot path stores two values.
    """

    packet: bytes
    started_ns = 0
    answered = False  # its OUTCOME is on its way; with a streamed body BODY frames follow
    lines: Lines | None = None
    done = False
    cancelled = 0  # a reason of CANCEL
    credit = frames.WINDOW_SIZE  # body bytes that may yet be under way (multiplexed links)
    endless = False  # its answer streams for as long as there is something to say: the gateway watches it
    open_body = False
    parts: deque[bytes] | None = None

    def __init__(self, packet: bytes) -> None:
        self.packet = packet

    def open(self) -> deque[bytes]:
        """Make ready to take body pieces; return where they go."""
        parts = self.parts
        if parts is None:
            self.open_body = bool(self.fields[1] & MORE)
            first = self.packet[_HEAD_START + self.fields[3] :]
            parts = self.parts = deque([first] if first else [])
        return parts

    @cached_property
    def fields(self) -> tuple[Any, ...]:
        """The values of INVOKE_FRAME, in its order."""
        return _unpack(self.packet)

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
    def scheme(self) -> str:
        return "https" if self.fields[1] & SECURE else "http"

    @property
    def is_websocket(self) -> bool:
        return bool(self.fields[1] & WEBSOCKET)

    @property
    def deadline_ns(self) -> int:
        return NEVER if self.endless else int(self.fields[6])

    @property
    def received_us(self) -> int:
        return int(self.fields[7])

    @property
    def id(self) -> str:
        return f"inv_{self.fields[8].hex()}"

    @cached_property
    def request(self) -> Request:
        return Request(self.packet[_BLOCK_START : _HEAD_START + self.fields[3]], self.fields[9])

    @property
    def body(self) -> bytes:
        """The whole body; the loop has seen to it that it is complete."""
        parts = self.parts
        if parts is None:
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
