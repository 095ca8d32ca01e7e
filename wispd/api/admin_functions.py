"""The admin API's routes for packages, layers and functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, BinaryIO, Final
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Request
from msgspec import Meta, Struct
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from wispd.api.admin_body import document, json_answer
from wispd.api.admin_guard import caller, principal_of, too_large
from wispd.api.conditional import precondition_of, tagged
from wispd.api.function_shapes import (
    FunctionDeclaration,
    FunctionList,
    FunctionView,
    UploadedCode,
    UploadedLayer,
)
from wispd.api.permitting import ZIP, conditional, needs
from wispd.api.querying import PageQuery, pack_cursor, query_of, unpack_cursor
from wispd.control.deployments import Deployed, Deployments
from wispd.control.packaging import Packages
from wispd.control.preconditions import etag_of
from wispd.model.alias import LIVE
from wispd.model.permission import may
from wispd.model.record import time_text
from wispd.ports.catalogue import Registered

HIDDEN: Final = "(hidden)"  # what a value of `env` looks like to who may not deploy
DEPLOY: Final = ("conflict", "init_failed", "timeout", "no_capacity", "not_found", "memory_exhausted")
UNPACKED_AT_ONCE: Final = 2
Urls = Callable[[str, str], str]  # (namespace, name) → where the function answers


class DeployQuery(Struct, frozen=True, kw_only=True):
    """Where a deployment goes."""

    alias: Annotated[str, Meta(max_length=40, description="What is pointed at the version.")] = LIVE


def function_routes(
    deployments: Deployments, *, code: Packages, layers: Packages, zip_bytes_max: int, urls: Urls
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}")
    unpacking = asyncio.Semaphore(UNPACKED_AT_ONCE)

    async def stored(request: Request, kind: Packages, *, limit: int) -> tuple[str, dict[str, int]]:
        with kind.upload() as file:
            await _receive(request, file, limit)
            async with unpacking:
                tree = await run_in_threadpool(kind.store, file)
        await deployments.own(request.path_params["namespace"], "code" if kind is code else "layer", tree.digest)
        return tree.digest, {"files": tree.files, "bytes": tree.file_bytes}

    @router.post("/packages", status_code=201, **needs("functions.write", takes=ZIP, returns=UploadedCode))
    async def upload_package(request: Request) -> Response:
        """Upload code as a zip; the same content is the same code."""
        digest, size = await stored(request, code, limit=zip_bytes_max)
        return json_answer({"code": digest, **size}, 201)

    @router.post("/layers", status_code=201, **needs("functions.write", takes=ZIP, returns=UploadedLayer))
    async def upload_layer(request: Request) -> Response:
        """Upload a layer: a zip of an installed tree."""
        digest, size = await stored(request, layers, limit=8 * zip_bytes_max)
        return json_answer({"layer": digest, **size}, 201)

    @router.put(
        "/functions/{name}",
        responses={201: {}, 422: {}},  # 422: it does not start
        **conditional(
            needs(
                "functions.write",
                query=DeployQuery,
                takes=FunctionDeclaration,
                returns=FunctionView,
                errors=DEPLOY,
            )
        ),
    )
    async def deploy(request: Request, namespace: str, name: str) -> Response:
        """Make a version of a function and point an alias at it, `live` unless another is named.

        The same declaration again changes nothing.
        """
        alias = query_of(request, DeployQuery).alias
        only = precondition_of(request)
        deployed = await deployments.deploy(
            namespace, name, await document(request), alias=alias, by=caller(request), only=only
        )
        answer = json_answer(deployed_view(deployed, urls), 201 if deployed.fresh else 200)
        return tagged(answer, etag_of(deployed.function))

    @router.get("/functions/{name}", **conditional(needs("functions.read", returns=FunctionView)))
    async def show(request: Request, namespace: str, name: str) -> Response:
        """Show a function and its live version. Values of `env` are shown to who may deploy."""
        found = deployments.show(namespace, name)
        return tagged(json_answer(_shown(request, function_view(found, urls))), etag_of(found))

    @router.get("/functions", **needs("functions.read", query=PageQuery, returns=FunctionList))
    async def functions(request: Request, namespace: str) -> Response:
        """List functions in the order of their names."""
        page = query_of(request, PageQuery)
        after = unpack_cursor("functions", namespace, page.cursor)
        found = deployments.page(namespace, after=after, limit=page.limit + 1)
        shown = found[: page.limit]
        more = pack_cursor("functions", namespace, shown[-1].published.name) if len(found) > page.limit else None
        return json_answer({"items": [_shown(request, function_view(one, urls)) for one in shown], "next": more})

    @router.delete("/functions/{name}", status_code=204, **conditional(needs("functions.write")))
    async def withdraw(request: Request, namespace: str, name: str) -> Response:
        """Delete a function with its versions; its records stay."""
        await deployments.withdraw(namespace, name, only=precondition_of(request))
        return Response(status_code=204)

    return router


def deployed_view(deployed: Deployed, urls: Urls) -> dict[str, Any]:
    """Return what a deployment answers."""
    trial = deployed.trial
    ran = {"ran": trial is not None, "init_ms": trial.init_ms if trial else 0.0}
    return function_view(deployed.function, urls) | {"trial": ran, "version": deployed.version.number}


def function_view(function: Registered, urls: Urls) -> dict[str, Any]:
    """Return a function as the API shows it."""
    published = function.published
    live = msgspec.to_builtins(msgspec.structs.asdict(published.live))
    live["memory"] = live["memory_bytes"] or "auto"
    live["created"] = time_text(live.pop("created_us"))
    return {
        "name": published.name,
        "namespace": published.namespace,
        "url": urls(published.namespace, published.name),
        "enabled": published.enabled,
        "disabled_reason": published.disabled_reason,
        "concurrency_reserved": published.concurrency_reserved,
        "created": time_text(function.created_us),
        "versions_kept": function.versions_kept,
        "aliases": {
            alias: {str(share.number): share.weight for share in pointer.shares}
            for alias in sorted({LIVE, *(one.alias for one in published.pointers)})
            if (pointer := published.pointer(alias)) is not None
        },
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
        raise too_large(int(declared[:20]), limit)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise too_large(size, limit)
        file.write(piece)
    file.flush()


def _shown(request: Request, view: dict[str, Any]) -> dict[str, Any]:
    """Hide the values of `env` from who may only look."""
    principal = principal_of(request)
    if not may(principal.role, principal.namespace, "functions.write", view["namespace"]):
        view["live"]["env"] = dict.fromkeys(view["live"].get("env", {}), HIDDEN)
    return view
