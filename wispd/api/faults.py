"""Faults as HTTP answers: problem details, one shape for everything that goes wrong. Pure. Source: RFC 9457."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from wispd.base.errors import Fault
from wispd.base.ids import to_text
from wispd.gateway.http1_application import Problem

PAGES: Final = "docs/errors"  # a page per code

_TYPE: Final = b"Content-Type: application/problem+json\r\n"
_CHALLENGE: Final = b'WWW-Authenticate: Bearer realm="wisp"\r\n'
_VERSION: Final = b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"  # RFC 6455 §4.4
_LATER: Final = frozenset({429, 503})


def document(fault: Fault, invocation_id: str) -> dict[str, Any]:
    """Return the problem details of `fault`: the standard's members, `code`, `invocation_id`, and its facts."""
    facts = {name: value for name, value in fault.facts.items() if value is not None}
    return facts | {
        "type": f"{PAGES}/{fault.code}.md",
        "title": fault.code.replace("_", " ").capitalize(),
        "status": fault.http_status,
        "detail": fault.message,
        "code": fault.code,
        "invocation_id": invocation_id,
        "retryable": fault.retryable,
    }


def retry_after_s(fault: Fault) -> int:
    """Return the seconds of Retry-After; 0: none. Where a client should come back later it is at least 1."""
    if fault.retry_after_s is None and fault.http_status not in _LATER:
        return 0
    return max(1, math.ceil(fault.retry_after_s or 0))


def id_line(invocation_id: bytes) -> bytes:
    """Return the header line that every answer carries."""
    return b"Wisp-Invocation-Id: inv_%b\r\n" % invocation_id.hex().encode()


def render(fault: Fault, invocation_id: bytes) -> Problem:
    """Return `fault` as an answer. The fact `allow` becomes the Allow header (RFC 9110 §15.5.6)."""
    text = to_text("inv", invocation_id)
    lines = [_TYPE, id_line(invocation_id)]
    seconds = retry_after_s(fault)
    if seconds:
        lines.append(b"Retry-After: %d\r\n" % seconds)
    if fault.http_status == 401:
        lines.append(_CHALLENGE)
    if fault.http_status == 426:
        lines.append(_VERSION)
    if fault.http_status == 405:
        lines.append(f"Allow: {fault.facts.get('allow', '')}\r\n".encode())
    body = msgspec.json.encode(document(fault, text), enc_hook=str) + b"\n"
    return Problem(fault.http_status, b"".join(lines), body)
