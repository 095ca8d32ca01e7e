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
from wispd.gateway.http1_head import Head
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
_PACK: Final = frames.HEADER.pack
_PACK_INVOKE: Final = frames.INVOKE_HEAD.pack
_INVOKE_SIZE: Final = frames.INVOKE_HEAD.size
_NS: Final = 1_000_000_000


def passed_headers(head: Head, *, drop_authorization: bool = False) -> bytes:
    """Return the header lines of `head` that a function gets, each ended by CRLF; names in lower case."""
    nominated = _nominated(head)
    lines = []
    for name, value in head.headers:
        if name in _HOP or name in nominated or name.replace(b"_", b"-").startswith(b"wisp-"):
            continue  # a WSGI application can't tell an underscore from a hyphen
        if name == b"cookie":
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


class InvocationMaker:
    """Numbers, ids, deadlines and frames of new invocations."""

    __slots__ = ("_clock", "_ids", "_numbers")

    def __init__(self, clock: Clock, *, ids: Callable[[], bytes], numbers: Callable[[], int]) -> None:
        self._clock = clock
        self._ids = ids
        self._numbers = numbers

    def id(self) -> bytes:
        """Return a new id, for an answer that never was an invocation."""
        return self._ids()

    def now_us(self) -> int:
        """Return Unix microseconds."""
        return self._clock.unix_ns() // 1000

    def make(  # noqa: PLR0913  (once per call, on the hot path)
        self,
        exchange: Exchange,
        version: Version,
        headers: bytes,
        body: bytes,
        *,
        target: bytes,
        mount: int,
        traced: bool,
        trigger: Trigger = Trigger.HTTP,
        more: bool = False,
    ) -> Invocation:
        """Return the invocation of the request present on `exchange`, with `exchange` as its sink.

        `headers`: as `passed_headers`; `traced`: a traceparent is among them; `more`: the body is still to come.
        Raises: `headers_too_large` if target and headers are more than one frame carries.
        """
        now = self._clock.monotonic_ns()
        unix_us = self._clock.unix_ns() // 1000
        deadline = now + int(version.timeout_s * _NS)
        id_ = self._ids()
        number = self._numbers()
        block = b"%b %b %b\r\n%b" % (exchange.request.method, target, exchange.peer, headers)
        if not traced:
            text = id_.hex().encode()  # Source: W3C Trace Context; a UUIDv7 is a good trace id
            block += b"traceparent: 00-%b-%b-01\r\n" % (text, text[16:])
        if len(block) > frames.BLOCK_MAX:
            raise Fault("headers_too_large", f"target and headers are {len(block)} bytes, limit {frames.BLOCK_MAX}")
        first = body[: frames.BODY_MAX] if len(body) > frames.BODY_MAX else body
        flags = frames.HTTP | frames.MORE if more or first is not body else frames.HTTP
        header = _PACK(frames.INVOKE, flags, 0, _INVOKE_SIZE + len(block), number, len(first))
        invocation = Invocation(
            number,
            id_,
            version,
            exchange,
            received_ns=now,
            received_us=unix_us,
            deadline_ns=deadline,
            frame=b"".join((header, _PACK_INVOKE(deadline, unix_us, id_, mount, 0), block, first)),
            trigger=trigger,
            bytes_in=len(body),
        )
        if first is not body:
            invocation.rest = frames.pack_body(number, memoryview(body)[frames.BODY_MAX :])
        invocation.body_done = not more
        return invocation
