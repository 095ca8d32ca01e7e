"""Bodies of the admin API: read with a bound, decoded into a type, answered as JSON."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from fastapi import Request
from starlette.responses import Response

from wispd.api.admin_guard import DOCUMENT_MAX, too_large
from wispd.base.errors import Fault

Body = TypeVar("Body")


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return `content` as JSON."""
    return Response(msgspec.json.encode(content) + b"\n", status, headers, media_type="application/json")


async def document(request: Request, *, empty: bool = False) -> object:
    """Return the JSON of a body; where it may be `empty`, nothing is an empty object.

    Raises: `Fault` `invalid_argument`, `payload_too_large`.
    """
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > DOCUMENT_MAX:
            raise too_large(len(content), DOCUMENT_MAX)
    if empty and not content:
        return {}
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fault("invalid_argument", f"the body is not JSON: {error}") from error


async def body_of(request: Request, wanted: type[Body]) -> Body:
    """Return the body as `wanted`, a Struct that forbids unknown fields. Raises: as `document`."""
    try:
        return msgspec.convert(await document(request), wanted)
    except msgspec.ValidationError as error:
        raise Fault("invalid_argument", f"body: {error}") from error
