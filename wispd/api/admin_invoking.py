"""Invoking through the admin listener: the request goes to the gateway's socket as it came, both ways streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

import httpx
from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from wispd.api.admin_versions import number_of
from wispd.api.permitting import ANYTHING, AnyQuery, needs
from wispd.base.errors import Fault
from wispd.control.dataplane import DataPlane
from wispd.control.names import check_name
from wispd.control.pointing import Pointing

METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Of one connection only (RFC 9110 §7.6.1); and the token of this API, which no function may see.
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
    }
)
_OURS: Final = frozenset({b"authorization", b"proxy-authorization"})


def invoking_routes(gateway: DataPlane, pointing: Pointing) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}/functions/{name}/invoke")

    async def invoke(request: Request) -> Response:
        """Invoke a function; what follows `/invoke` is its path. The answer is the function's."""
        params = request.path_params
        namespace, name = check_name(params["namespace"], "namespace"), check_name(params["name"])
        target = target_of(request.scope, namespace, name)
        headers = request.headers.raw
        number = request.headers.get("wisp-version", "")
        if number:  # one that no alias points at is not known to the gateway
            await gateway.introduce(pointing.version(namespace, name, number=number_of(number)).version)
        body = request.stream() if _has_body(request.headers) else None
        answer = await gateway.send(request.method, target, _passed(headers), body)
        response = StreamingResponse(_pieces(answer), answer.status_code, background=BackgroundTask(answer.aclose))
        passed = [(key.lower(), value) for key, value in _passed(answer.headers.raw)]
        response.raw_headers = [(key, value) for key, value in passed if key != b"date"]  # the server here adds it
        return response

    declared = needs("functions.invoke", query=AnyQuery, takes=ANYTHING, returns=ANYTHING)
    how = {"methods": METHODS, "response_model": None} | declared
    router.add_api_route("", invoke, **how)
    router.add_api_route("/{rest:path}", invoke, **how)
    return router


def target_of(scope: Mapping[str, object], namespace: str, name: str) -> bytes:
    """Return the target at the gateway: what follows `/invoke` is passed on byte for byte."""
    raw, query = scope["raw_path"], scope["query_string"]
    assert isinstance(raw, bytes)
    assert isinstance(query, bytes)
    parts = raw.partition(b"?")[0].split(b"/", 7)  # "", v1, namespaces, ns, functions, name, invoke, rest
    if len(parts) < 7 or parts[6] != b"invoke":
        raise Fault("not_found", "expected …/functions/{name}/invoke")
    rest = b"/" + parts[7] if len(parts) > 7 else b""
    return f"/_wisp/invoke/{namespace}/{name}".encode() + rest + (b"?" + query if query else b"")


def _has_body(headers: Mapping[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _passed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    nominated = {
        word.strip().lower() for key, value in headers if key.lower() == b"connection" for word in value.split(b",")
    }
    dropped = _HOP_BY_HOP | _OURS | (nominated - {b"content-length", b"host"})
    return [(key, value) for key, value in headers if key.lower() not in dropped]


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()
