"""The admin API's routes for packages, layers and functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, BinaryIO, Final
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from wispd.api.permitting import needs
from wispd.base.errors import Fault
from wispd.control.deployments import Deployed, Deployments
from wispd.control.names import check_name
from wispd.control.packaging import Packages
from wispd.model.record import time_text
from wispd.ports.catalogue import Registered

DOCUMENT_MAX: Final = 1024 * 1024
PAGE_MAX: Final = 1000
UNPACKED_AT_ONCE: Final = 2
Urls = Callable[[str, str], str]  # (namespace, name) → where the function answers


def json_answer(content: Any, status: int = 200) -> Response:
    """Return `content` as JSON."""
    return Response(msgspec.json.encode(content) + b"\n", status, media_type="application/json")


def function_routes(
    deployments: Deployments, *, code: Packages, layers: Packages, zip_bytes_max: int, urls: Urls
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}")
    unpacking = asyncio.Semaphore(UNPACKED_AT_ONCE)

    async def stored(request: Request, kind: Packages, *, limit: int) -> tuple[str, dict[str, int]]:
        check_name(request.path_params["namespace"], "namespace")
        with kind.upload() as file:
            await _receive(request, file, limit)
            async with unpacking:
                tree = await run_in_threadpool(kind.store, file)
        return tree.digest, {"files": tree.files, "bytes": tree.file_bytes}

    @router.post("/packages", status_code=201, **needs("functions.write"))
    async def upload_package(request: Request) -> Response:
        digest, size = await stored(request, code, limit=zip_bytes_max)
        return json_answer({"code": digest, **size}, 201)

    @router.post("/layers", status_code=201, **needs("functions.write"))
    async def upload_layer(request: Request) -> Response:
        digest, size = await stored(request, layers, limit=8 * zip_bytes_max)
        return json_answer({"layer": digest, **size}, 201)

    @router.put("/functions/{name}", **needs("functions.write"))
    async def deploy(request: Request, namespace: str, name: str) -> Response:
        deployed = await deployments.deploy(namespace, name, await _document(request))
        return json_answer(deployed_view(deployed, urls), 201 if deployed.fresh else 200)

    @router.get("/functions/{name}", **needs("functions.read"))
    async def show(namespace: str, name: str) -> Response:
        return json_answer(function_view(deployments.show(namespace, name), urls))

    @router.get("/functions", **needs("functions.read"))
    async def functions(request: Request, namespace: str) -> Response:
        limit = whole(request, "limit", 100, PAGE_MAX)
        found = deployments.page(namespace, after=request.query_params.get("cursor", ""), limit=limit + 1)
        more = found[limit - 1].published.name if len(found) > limit else None
        return json_answer({"items": [function_view(one, urls) for one in found[:limit]], "next": more})

    @router.delete("/functions/{name}", status_code=204, **needs("functions.write"))
    async def withdraw(namespace: str, name: str) -> Response:
        await deployments.withdraw(namespace, name)
        return Response(status_code=204)

    return router


def whole(request: Request, key: str, default: int, maximum: int) -> int:
    """Return a whole number of the query from 1 to `maximum`."""
    text = request.query_params.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= maximum):
        raise Fault("invalid_argument", f"{key} is {text[:40]!r}, allowed are 1 to {maximum}", key=key)
    return int(text)


def deployed_view(deployed: Deployed, urls: Urls) -> dict[str, Any]:
    """Return what a deployment answers."""
    trial = deployed.trial
    ran = {"ran": trial is not None, "init_ms": trial.init_ms if trial else 0.0}
    return function_view(deployed.function, urls) | {"trial": ran}


def function_view(function: Registered, urls: Urls) -> dict[str, Any]:
    """Return a function as the API shows it. Values of `env` are shown to whoever may deploy it."""
    published = function.published
    live = msgspec.to_builtins(msgspec.structs.asdict(published.live))
    live["memory"] = live["memory_bytes"] or "auto"
    live["created"] = time_text(live.pop("created_us"))
    return {
        "name": published.name,
        "namespace": published.namespace,
        "url": urls(published.namespace, published.name),
        "enabled": published.enabled,
        "concurrency_reserved": published.concurrency_reserved,
        "created": time_text(function.created_us),
        "updated": time_text(function.updated_us),
        "live": live,
    }


def path_urls(base: str, domain: str) -> Urls:
    """Return the rule for URLs: a path in the default namespace, a host label in every other."""
    scheme, _, rest = base.partition("://")
    _, colon, port = rest.rpartition(":")

    def url(namespace: str, name: str) -> str:
        if namespace == "default":
            return f"{base}/fn/{quote(name)}"
        return f"{scheme}://{name.lower()}.{namespace.lower()}.{domain}{colon}{port}"

    return url


async def _receive(request: Request, file: BinaryIO, limit: int) -> None:
    """Write the body into a file. Raises: `Fault("payload_too_large")`, before reading where it says its length."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(int(declared[:20]), limit)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise _too_large(size, limit)
        file.write(piece)
    file.flush()


async def _document(request: Request) -> object:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > DOCUMENT_MAX:
            raise _too_large(len(content), DOCUMENT_MAX)
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fault("invalid_argument", f"the body is not JSON: {error}") from error


def _too_large(size: int, limit: int) -> Fault:
    return Fault("payload_too_large", f"body is {size} bytes or more, limit {limit}", bytes=size, limit=limit)
