"""Problem documents of an App's routes. Source: RFC 9457."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from wisp.errors import HttpError
from wisp.runtime.apps.shapes import Wrong
from wisp.runtime.dialects.results import block_of, to_json
from wisp.runtime.outcomes import Answer

PROBLEM: Final = "application/problem+json"


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, facts: Mapping[str, Any] | None = None
) -> Answer:
    """Return an answer that says what is wrong."""
    document: dict[str, Any] = {"type": "about:blank", "title": _title(status), "status": status}
    if detail:
        document["detail"] = detail
    document |= {name: value for name, value in (facts or {}).items() if name not in document}
    return status, block_of([("content-type", PROBLEM), *(headers or {}).items()]), to_json(document)


def wrong_input(wrong: Wrong) -> Answer:
    """Return 400 with everything that is wrong with a request."""
    lines = wrong.lines()
    errors = [{"field": at, "message": message} for at, message in wrong.found]
    return problem(400, "; ".join(lines), facts={"errors": errors})


def raised(error: HttpError) -> Answer:
    return problem(error.status, error.detail, headers=error.headers, facts=error.facts)


def not_found(path: str, *, docs: bool) -> Answer:
    hint = "; /docs lists what there is" if docs else ""
    return problem(404, f"nothing is at {path[:200]}{hint}")


def not_allowed(method: str, path: str, allow: tuple[str, ...]) -> Answer:
    allowed = ", ".join(allow)
    return problem(405, f"{path[:200]} answers {allowed}, not {method[:20]}", headers={"allow": allowed})


def unsupported_body(got: str) -> Answer:
    said = f"content type {got[:60]!r}" if got else "no content type"
    return problem(
        415,
        f"the body has {said}; this takes JSON: send the header Content-Type: application/json",
        headers={"accept": "application/json"},
    )


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
