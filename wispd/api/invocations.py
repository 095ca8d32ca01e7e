"""Makes an `Invocation` out of an HTTP request: what is passed on, what is stripped, the frame.

Stripped on the way in are headers of one hop, everything `Wisp-*`, the console's cookie, and a Wisp token: a function
never sees a credential for the platform, nor anything the platform itself would have said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wisp.runtime import frames
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.gateway.http1_application import Exchange
from wispd.gateway.http1_head import CHUNKED, Head
from wispd.model.function import Version
from wispd.model.invocation import Invocation, Trigger

CONSOLE_COOKIE: Final = b"wisp_console"

# Of one hop (RFC 9110 §7.6.1), or settled here already.
_HOP: Final = frozenset(
    {
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
# What `Connection: name` can't remove: whoever is behind relies on these.
_KEPT: Final = frozenset({b"authorization", b"content-length", b"content-type", b"cookie", b"forwarded", b"host"})
_OURS: Final = (b"wisp-", b"wisp_")
_PACK: Final = frames.HEADER.pack
_PACK_INVOKE: Final = frames.INVOKE_HEAD.pack
_INVOKE_SIZE: Final = frames.INVOKE_HEAD.size
_NS: Final = 1_000_000_000


def passed_headers(head: Head, *, drop_authorization: bool = False) -> bytes:
    """Return the header lines of `head` that a function gets, each ended by CRLF; names in lower case."""
    nominated = _nominated(head)
    lines = []
    for name, value in head.headers:
        if name in _HOP or name in nominated or name.startswith(_OURS):
            continue  # a WSGI application can't tell an underscore from a hyphen
        if name == b"cookie" and CONSOLE_COOKIE in value:
            value = _without_console(value)  # noqa: PLW2901
            if not value:
                continue
        elif name == b"authorization" and drop_authorization:
            continue
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


def _nominated(head: Head) -> set[bytes]:
    names: set[bytes] = set()
    for value in head.values(b"connection"):
        names.update(option.strip() for option in value.lower().split(b","))
    return {name for name in names if name not in _KEPT and not name.startswith(b"x-forwarded-")}


def _without_console(cookies: bytes) -> bytes:
    pairs = [pair.strip(b" \t") for pair in cookies.split(b";")]
    return b"; ".join(pair for pair in pairs if pair and pair.partition(b"=")[0].rstrip() != CONSOLE_COOKIE)


class Passage:
    """What of a request is the same for equal heads: where it goes, and what it takes along.

    `headers`: as `passed_headers`; `target`: in origin-form; its first `mount` bytes are the function's own prefix.
    """

    __slots__ = ("headers", "mount", "target", "traced", "trigger", "version")

    def __init__(self, version: Version, headers: bytes, *, target: bytes, mount: int, trigger: Trigger) -> None:
        self.version = version
        self.headers = headers
        self.target = target
        self.mount = mount
        self.trigger = trigger
        self.traced = headers.startswith(b"traceparent: ") or b"\r\ntraceparent: " in headers


class InvocationMaker:
    """Numbers, ids, deadlines and frames of new invocations."""

    __slots__ = ("_flags", "_idle_ns", "_ids", "_numbers", "clock")

    def __init__(
        self,
        clock: Clock,
        *,
        ids: Callable[[], bytes],
        numbers: Callable[[], int],
        stream_idle_s: float = 600.0,
        secure: bool = False,
    ) -> None:
        self.clock = clock
        self._idle_ns = int(stream_idle_s * _NS)
        self._flags = frames.HTTP | frames.SECURE if secure else frames.HTTP
        self._ids = ids
        self._numbers = numbers

    def id(self) -> bytes:
        """Return a new id, for an answer that never was an invocation."""
        return self._ids()

    def now_us(self) -> int:
        """Return Unix microseconds."""
        return self.clock.unix_ns() // 1000

    def limit(self, invocation: Invocation) -> None:
        """Give an invocation its version's timeout from now on."""
        ends_ns = self.clock.monotonic_ns() + int(invocation.version.timeout_s * _NS)
        invocation.deadline_ns = min(invocation.deadline_ns, ends_ns)

    def make(
        self, exchange: Exchange, passage: Passage, body: bytes, *, more: bool = False, websocket: bool = False
    ) -> Invocation:
        """Return the invocation of the request present on `exchange`, which becomes its sink.

        `more`: the body is still to come; `websocket`: it is messages, and so is the answer's. Raises:
        `headers_too_large` if target and headers don't fit into a frame.
        """
        now = self.clock.monotonic_ns()
        unix_us = self.clock.unix_ns() // 1000
        deadline = now + int(passage.version.timeout_s * _NS)
        id_ = self._ids()
        number = self._numbers()
        block = _block(exchange, passage, id_)
        if exchange.request.length == CHUNKED and not more:
            block += b"content-length: %d\r\n" % len(body)
        if len(block) > frames.BLOCK_MAX:
            raise Fault("headers_too_large", f"target and headers are {len(block)} bytes, limit {frames.BLOCK_MAX}")
        first = body[: frames.BODY_MAX] if len(body) > frames.BODY_MAX else body
        flags = self._flags | frames.MORE if more or first is not body else self._flags
        if websocket:
            flags |= frames.WEBSOCKET
        header = _PACK(frames.INVOKE, flags, 0, _INVOKE_SIZE + len(block), number, len(first))
        invocation = Invocation(
            number,
            id_,
            passage.version,
            exchange,
            received_ns=now,
            received_us=unix_us,
            deadline_ns=deadline,
            frame=b"".join((header, _PACK_INVOKE(deadline, unix_us, id_, passage.mount, 0), block, first)),
            trigger=passage.trigger,
            bytes_in=len(body),
        )
        if first is not body:
            invocation.rest = frames.pack_body(number, memoryview(body)[frames.BODY_MAX :])
        invocation.body_done = not more
        invocation.websocket = websocket
        invocation.idle_ns = self._idle_ns
        return invocation


def _block(exchange: Exchange, passage: Passage, id_: bytes) -> bytes:
    """Return the request block, with a traceparent of ours where the client sent none."""
    if passage.traced:
        return b"%b %b %b\r\n%b" % (exchange.request.method, passage.target, exchange.peer, passage.headers)
    text = id_.hex().encode()  # Source: W3C Trace Context; a UUIDv7 is a good trace id
    return b"%b %b %b\r\n%btraceparent: 00-%b-%b-01\r\n" % (
        exchange.request.method,
        passage.target,
        exchange.peer,
        passage.headers,
        text,
        text[16:],
    )
