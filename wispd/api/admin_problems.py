"""What the admin API answers when something is wrong: problem details. Source: RFC 9457."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import Response

from wispd.api.faults import PAGES, retry_after_s
from wispd.base.errors import CODES, Fault

CONTENT_TYPE: Final = "application/problem+json"
_OF_STATUS: Final = {404: "not_found", 405: "method_not_allowed"}


def document(fault: Fault) -> dict[str, Any]:
    """Return the members of the standard, `code`, `retryable` and the facts."""
    facts = {name: value for name, value in fault.facts.items() if value is not None}
    return facts | {
        "type": f"{PAGES}/{fault.code}.md",
        "title": fault.code.replace("_", " ").capitalize(),
        "status": fault.http_status,
        "detail": fault.message,
        "code": fault.code,
        "retryable": fault.retryable,
    }


def problem(fault: Fault) -> Response:
    """Return `fault` as an answer."""
    headers: dict[str, str] = {}
    seconds = retry_after_s(fault)
    if seconds:
        headers["retry-after"] = str(seconds)
    if fault.http_status == 401:
        headers["www-authenticate"] = 'Bearer realm="wisp"'
    if fault.http_status == 405:
        headers["allow"] = str(fault.facts.get("allow", ""))
    content = msgspec.json.encode(document(fault), enc_hook=str) + b"\n"
    return Response(content, fault.http_status, headers, media_type=CONTENT_TYPE)


def fault_of_status(status: int, detail: str) -> Fault:
    """Return the fault for what the framework refuses by itself: unknown paths and methods."""
    code = _OF_STATUS.get(status) or next(
        (code for code, (known, *_) in CODES.items() if known == status), "internal"
    )
    return Fault(code, detail)


__all__ = ["CONTENT_TYPE", "document", "fault_of_status", "problem"]
