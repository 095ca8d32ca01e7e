"""`Fault`: the one exception the platform raises for people, and the table code → HTTP status.

Every code has a page in ``docs/errors/`` (a test holds both directions).
"""

from __future__ import annotations

from typing import Final, Literal

Blame = Literal["caller", "function", "capacity", "platform"]

# code → (HTTP status, who is to blame, may the same call be tried again)
CODES: Final[dict[str, tuple[int, Blame, bool]]] = {
    "invalid_argument": (400, "caller", False),
    "malformed_request": (400, "caller", False),
    "unauthenticated": (401, "caller", False),
    "forbidden": (403, "caller", False),
    "not_found": (404, "caller", False),
    "method_not_allowed": (405, "caller", False),
    "request_timeout": (408, "caller", True),
    "conflict": (409, "caller", False),
    "precondition_failed": (412, "caller", False),
    "payload_too_large": (413, "caller", False),
    "uri_too_long": (414, "caller", False),
    "unsupported_media_type": (415, "caller", False),
    "expectation_failed": (417, "caller", False),
    "misdirected_request": (421, "caller", False),
    "upgrade_required": (426, "caller", False),
    "headers_too_large": (431, "caller", False),
    "disabled": (409, "caller", False),
    "throttled": (429, "capacity", True),
    "budget_exceeded": (429, "capacity", True),
    "quota_exceeded": (429, "capacity", True),
    "client_closed": (499, "caller", False),
    "internal": (500, "platform", False),
    "corrupt": (500, "platform", False),
    "not_implemented": (501, "caller", False),
    "function_error": (502, "function", False),
    "init_failed": (502, "function", False),
    "memory_exhausted": (502, "function", False),
    "instance_lost": (502, "function", False),
    "invalid_answer": (502, "function", False),
    "answer_too_large": (502, "function", False),
    "no_capacity": (503, "capacity", True),
    "draining": (503, "platform", True),
    "unavailable": (503, "platform", True),
    "timeout": (504, "function", False),
    "build_failed": (422, "function", False),
    "loop_detected": (508, "function", False),
    "storage_full": (507, "platform", True),
}


class Fault(Exception):
    """What went wrong, for people and for machines.

    `message` names the value and the limit ("body is 7340032 bytes, limit 6291456"); `facts` holds the same as
    JSON values. `blame`, `retryable` and `http_status` follow from the code.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: float | None = None, **facts: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.facts = facts
        self.http_status, self.blame, self.retryable = CODES[code]

    def __repr__(self) -> str:
        return f"Fault({self.code!r}, {self.message!r})"
