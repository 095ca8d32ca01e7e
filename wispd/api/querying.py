"""Query parameters as typed values, and the cursors of lists."""

from __future__ import annotations

import base64
import binascii
import difflib
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import Request
from msgspec import Meta, Struct

from wispd.base.errors import Fault

PAGE_MAX: Final = 1000
CURSOR_MAX: Final = 400  # characters

Limit = Annotated[int, Meta(ge=1, le=PAGE_MAX, description="How many items at most.")]
Cursor = Annotated[str, Meta(max_length=CURSOR_MAX, description="`next` of the page before.")]
Query = TypeVar("Query", bound=Struct)


class PageQuery(Struct, frozen=True, kw_only=True):
    """Which part of a list."""

    limit: Limit = 100
    cursor: Cursor = ""


def query_of(request: Request, wanted: type[Query]) -> Query:
    """Return the query as `wanted`. Raises: `Fault("invalid_argument")` naming the parameter."""
    given: dict[str, Any] = {}
    for key, value in request.query_params.multi_items():
        if key in given:
            raise Fault("invalid_argument", f"query parameter {key[:80]!a} is given twice", key=key[:80])
        if value or key not in ("limit",):
            given[key] = value
    try:
        return msgspec.convert(given, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise Fault("invalid_argument", f"query: {error}") from error


def refuse_unknown(request: Request, wanted: type[Struct] | None) -> None:
    """Refuse parameters that do not exist, naming the nearest that does."""
    known = wanted.__struct_encode_fields__ if wanted is not None else ()
    for key in request.query_params:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
            raise Fault("invalid_argument", f"{key[:80]!a} is no query parameter here; {hint}", key=key[:80])


def pack_cursor(kind: str, namespace: str, position: str) -> str:
    """Return a cursor that is good for this list of this namespace only."""
    raw = msgspec.json.encode([kind, namespace, position])
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unpack_cursor(kind: str, namespace: str, cursor: str) -> str:
    """Return the position; "" for no cursor. Raises: `Fault("invalid_argument")`."""
    if not cursor:
        return ""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        made_for, of, position = msgspec.json.decode(raw, type=tuple[str, str, str])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        made_for = of = position = ""
    if (made_for, of) != (kind, namespace) or not position:
        raise Fault("invalid_argument", f"cursor {cursor[:40]!a} is not from this list", key="cursor")
    return position
