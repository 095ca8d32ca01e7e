"""The admin API's route for deploying many functions at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from wispd.api.admin_guard import caller, too_large
from wispd.api.permitting import NDJSON, needs
from wispd.base.errors import Fault
from wispd.control.batches import LINE_MAX, LINES_MAX, Batches


def batch_routes(batches: Batches) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}")

    @router.post("/functions:batch", **needs("functions.write", takes=NDJSON, returns=NDJSON))
    async def batch(request: Request, namespace: str) -> Response:
        """Deploy many functions: a declaration with `name` a line; a line of the answer for each, in their order."""
        answer = bytearray()
        count = 0
        async for group in batches.deploy(namespace, lines_of(request.stream()), by=caller(request)):
            count += len(group)
            if count > LINES_MAX:
                raise Fault("payload_too_large", f"a batch has {LINES_MAX} lines at most; those before are deployed")
            answer += b"".join(msgspec.json.encode(line) + b"\n" for line in group)
        return Response(bytes(answer), media_type="application/x-ndjson")

    return router


async def lines_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a body, empty ones left out. Raises: `Fault("payload_too_large")` for too long a line."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in (*lines, rest):
            if len(line) > LINE_MAX:
                raise too_large(len(line), LINE_MAX)
        for line in lines:
            if line.strip():
                yield line
    if rest.strip():
        yield rest
