"""Calling another function of the same namespace: `wisp.call` and `await wisp.acall`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from wisp.event import decoded
from wisp.headers import Headers
from wisp.runtime import frames

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FUNCTION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class CallError(Exception):
    """The call failed. `code` is an error code of the platform (`not_found`, `timeout`, `function_error`, …)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Reply:
    """The answer of the called function. `data` is its body, decoded by the content type; `raw` as it came."""

    __slots__ = ("_decoded", "headers", "raw", "status")

    def __init__(self, status: int, headers: Headers, raw: bytes) -> None:
        self.status = status
        self.headers = headers
        self.raw = raw
        self._decoded: tuple[Any] | None = None

    @property
    def data(self) -> Any:
        if self._decoded is None:
            self._decoded = (decoded(self.raw, self.headers.get("content-type")),)
        return self._decoded[0]

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.raw)} bytes)"


def call(
    name: str, payload: Any = None, *, headers: Mapping[str, str] | None = None, timeout_s: float | None = None
) -> Reply:
    """Call a function and wait for its answer.

    `payload` is None, bytes, text or a JSON value, at most 65536 bytes; the called function gets it as an event of
    type `wisp.call`. The call never outlives the caller's own deadline.

    Raises: `CallError`.
    """
    from wisp.runtime.calling import active

    head, body = _request(name, payload, headers)
    return active().call(name, head, body, timeout_s=timeout_s)


async def acall(
    name: str, payload: Any = None, *, headers: Mapping[str, str] | None = None, timeout_s: float | None = None
) -> Reply:
    """Call a function and await its answer; as `call` otherwise."""
    from wisp.runtime.calling import active

    head, body = _request(name, payload, headers)
    return await active().acall(name, head, body, timeout_s=timeout_s)


def _request(name: str, payload: Any, headers: Mapping[str, str] | None) -> tuple[bytes, bytes]:
    """Return (header lines, body)."""
    if not _FUNCTION.fullmatch(name):
        raise CallError("invalid_argument", f"{name!r} is not the name of a function")
    kind, body = _body(payload)
    given = {key.lower(): value for key, value in (headers or {}).items()}
    if kind:
        given.setdefault("content-type", kind)
    lines = []
    for key, value in given.items():
        if not _NAME.fullmatch(key) or not _VALUE.fullmatch(value):
            raise CallError("invalid_argument", f"header {key!r} is not allowed")
        lines.append(f"{key}: {value}\r\n")
    if len(body) > frames.BODY_MAX:
        raise CallError("payload_too_large", f"payload is {len(body)} bytes, limit {frames.BODY_MAX}")
    return "".join(lines).encode("latin-1"), body


def _body(payload: Any) -> tuple[str, bytes]:
    if payload is None:
        return "", b""
    if isinstance(payload, bytes | bytearray | memoryview):
        return "application/octet-stream", bytes(payload)
    if isinstance(payload, str):
        return "text/plain; charset=utf-8", payload.encode()
    return "application/json", json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def request_head(name: str, lines: bytes) -> bytes:
    """Return a CALL's head: the function's name, LF, the request block of an event."""
    block = b"EVENT / -\r\nce-specversion: 1.0\r\nce-type: wisp.call\r\nce-source: /\r\n" + lines
    if len(block) > frames.BLOCK_MAX:
        raise CallError("invalid_argument", f"headers are {len(block)} bytes, limit {frames.BLOCK_MAX}")
    return name.encode() + b"\n" + block


def reply_of(parts: Sequence[frames.Frame]) -> Reply:
    """Return the reply that REPLY and BODY frames make up. Raises: `CallError` for an error reply."""
    first = parts[0]
    if first.flags & frames.ERROR:
        code, _, message = first.head.decode("utf-8", "replace").partition("\n")
        raise CallError(code, message)
    if parts[-1].flags & frames.ERROR:
        code, _, message = parts[-1].head.decode("utf-8", "replace").partition("\n")
        raise CallError(code or "function_error", message or "the answer broke off")
    pairs = []
    for line in first.head.split(b"\r\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            pairs.append((name, value.strip()))
    return Reply(first.meta, Headers(pairs), b"".join(part.body for part in parts))
