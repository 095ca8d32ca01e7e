"""The admin API's routes for builds. A build is answered line by line, as it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request
from msgspec import Meta, Struct
from starlette.responses import Response, StreamingResponse

from wispd.api import admin_body
from wispd.api.admin_body import body_of, json_answer
from wispd.api.admin_problems import document
from wispd.api.function_shapes import UploadedCode
from wispd.api.permitting import NDJSON, needs
from wispd.api.querying import PageQuery, pack_cursor, query_of, unpack_cursor
from wispd.base.errors import Fault
from wispd.control.builder import Builder
from wispd.control.buildrequest import COMMANDS_MAX, parse_request
from wispd.control.names import check_name
from wispd.control.packagefetching import PackageFetching
from wispd.model.build import Build, BuildRequest, BuildStatus
from wispd.model.record import time_text

EVENTS_MAX: Final = 10_000  # told and not yet sent; above it output is left out, never the end
_LINES: Final = "application/x-ndjson"


class PackageAddress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a package is, and the hash it must have."""

    url: Annotated[str, Meta(max_length=2000)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class BuildDeclaration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is built: an uploaded tree, the file that names its dependencies, and commands that are run in it."""

    code: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    dependencies: Annotated[str, Meta(max_length=200)] | None = None
    runtime: str | None = None
    run: Annotated[list[list[str]], Meta(max_length=COMMANDS_MAX)] | None = None
    refresh: bool | None = None


class BuildView(Struct, frozen=True, kw_only=True):
    """A build. Digests are "" where nothing was made; `packages` are `name==version`."""

    id: str
    namespace: str
    status: BuildStatus
    created: str
    finished: str | None
    source: str
    code: str
    layer: str
    packages: tuple[str, ...]
    cached: bool
    message: str


class BuildLogView(BuildView, frozen=True, kw_only=True):
    """A build, with what it wrote."""

    log: str


class BuildList(Struct, frozen=True, kw_only=True):
    items: list[BuildView]
    next: str | None


def build_routes(builder: Builder, fetching: PackageFetching) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}")

    @router.post("/builds", **needs("functions.write", takes=BuildDeclaration, returns=NDJSON))
    async def build(request: Request, namespace: str) -> Response:
        """Build the dependencies and steps of an uploaded package; answers events as lines of JSON."""
        check_name(namespace, "namespace")
        wanted = parse_request(await admin_body.document(request))
        return StreamingResponse(_lines(builder, namespace, wanted), media_type=_LINES)

    @router.post(
        "/packages/fetch", status_code=201, **needs("functions.write", takes=PackageAddress, returns=UploadedCode)
    )
    async def fetch(request: Request, namespace: str) -> Response:
        """Fetch a zip of code from an https address, held to its SHA-256; private addresses are refused."""
        check_name(namespace, "namespace")
        wanted = await body_of(request, PackageAddress)
        tree = await fetching.fetch(namespace, wanted.url, wanted.sha256)
        return json_answer({"code": tree.digest, "files": tree.files, "bytes": tree.file_bytes}, 201)

    @router.get("/builds", **needs("functions.read", query=PageQuery, returns=BuildList))
    async def builds(request: Request, namespace: str) -> Response:
        """List builds, newest first."""
        check_name(namespace, "namespace")
        page = query_of(request, PageQuery)
        before = unpack_cursor("builds", namespace, page.cursor)
        found = builder.ledger.page(namespace, before=before, limit=page.limit + 1)
        shown = found[: page.limit]
        more = pack_cursor("builds", namespace, shown[-1].id) if len(found) > page.limit else None
        return json_answer(BuildList(items=[build_view(one) for one in shown], next=more))

    @router.get("/builds/{build}", **needs("functions.read", returns=BuildLogView))
    async def show(namespace: str, build: str) -> Response:
        """Show one build, with what it wrote."""
        check_name(namespace, "namespace")
        found, log = await asyncio.to_thread(builder.ledger.show, namespace, build)
        return json_answer(BuildLogView(**msgspec.structs.asdict(build_view(found)), log=log))

    return router


def build_view(build: Build) -> BuildView:
    """Return a build as the API shows it."""
    shown = msgspec.structs.asdict(build)
    created_us, finished_us = shown.pop("created_us"), shown.pop("finished_us")
    return BuildView(**shown, created=time_text(created_us), finished=time_text(finished_us) if finished_us else None)


async def _lines(builder: Builder, namespace: str, wanted: BuildRequest) -> AsyncIterator[bytes]:
    """Yield a build's events; the last is `done` or `failed`. Whoever stops reading ends the build."""
    events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def tell(event: dict[str, Any]) -> None:
        if events.qsize() < EVENTS_MAX:
            events.put_nowait(event)

    async def work() -> None:
        try:
            built = await builder.build(namespace, wanted, tell)
            events.put_nowait({"event": "done", "build": build_view(built)})
        except Fault as fault:
            events.put_nowait({"event": "failed", "error": document(fault)})
        except Exception as error:  # told, as the head of the answer is long gone
            broken = Fault("internal", f"this is a bug of the platform: {type(error).__name__}: {error}")
            events.put_nowait({"event": "failed", "error": document(broken)})
        finally:
            events.put_nowait(None)

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        while (event := await events.get()) is not None:
            yield msgspec.json.encode(event) + b"\n"
