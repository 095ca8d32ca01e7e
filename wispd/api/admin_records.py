"""The admin API's routes for what ran: records, log text, usage."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from wispd.api.admin_functions import json_answer, whole
from wispd.api.permitting import needs
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.control.names import check_name
from wispd.control.units import duration_s
from wispd.model.record import InvocationRecord, LogLine, LogPage, Page, Usage

PAGE_MAX: Final = 1000
LINES_MAX: Final = 10_000  # pieces of one answer that does not follow
FOLLOWERS_MAX: Final = 64
FOLLOW_S: Final = 0.5


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which records or log text; empty fields mean all. `since_us` is Unix µs."""

    namespace: str
    function: str = ""
    status: str = ""
    invocation_id: str = ""
    since_us: int = 0


class Records(Protocol):
    """Questions about what ran; what has ended before the question is in the answer. Raises: `Fault`."""

    async def show(self, invocation_id: str) -> InvocationRecord: ...

    async def page(self, wanted: Wanted, *, limit: int, cursor: str) -> Page: ...

    async def logs(self, wanted: Wanted, *, limit: int, cursor: int | None) -> LogPage: ...

    async def usage(self, namespace: str, *, since_us: int, until_us: int, by: list[str]) -> tuple[Usage, ...]: ...


def record_routes(records: Records, clock: Clock, stopping: asyncio.Event) -> APIRouter:
    """Return the routes. `stopping` ends those who follow a log."""
    router = APIRouter(prefix="/v1")
    followers = asyncio.Semaphore(FOLLOWERS_MAX)

    @router.get("/invocations/{invocation_id}", **needs("records.read"))
    async def show(invocation_id: str) -> Response:
        return json_answer(await records.show(invocation_id))

    @router.get("/namespaces/{namespace}/invocations", **needs("records.read"))
    async def invocations(request: Request) -> Response:
        limit = whole(request, "limit", 50, PAGE_MAX)
        page = await records.page(_wanted(request, clock), limit=limit, cursor=request.query_params.get("cursor", ""))
        return json_answer({"items": page.items, "next": page.next or None})

    @router.get("/namespaces/{namespace}/logs", **needs("records.read"))
    async def logs(request: Request) -> Response:
        wanted = _wanted(request, clock)
        limit = whole(request, "limit", 500, PAGE_MAX)
        follow = request.query_params.get("follow", "false") in ("true", "1")
        if follow and followers.locked():
            raise Fault("unavailable", f"{FOLLOWERS_MAX} callers follow logs already", retry_after_s=5)
        first = await records.logs(wanted, limit=limit, cursor=None)
        lines = _followed(records, wanted, first, stopping) if follow else _paged(records, wanted, first, limit=limit)
        return StreamingResponse(_held(lines, followers if follow else None), media_type="application/x-ndjson")

    @router.get("/namespaces/{namespace}/usage", **needs("records.read"))
    async def usage(request: Request, namespace: str) -> Response:
        by = [word for word in request.query_params.get("by", "function").split(",") if word]
        now_us = clock.unix_ns() // 1000
        since_us, until_us = (moment_us(request.query_params.get(key, ""), key, now_us) for key in ("since", "until"))
        check_name(namespace, "namespace")
        return json_answer({"items": await records.usage(namespace, since_us=since_us, until_us=until_us, by=by)})

    return router


def moment_us(text: str, key: str, now_us: int) -> int:
    """Return Unix µs of `10m` (ago), an RFC 3339 time or Unix seconds; 0 for nothing."""
    if not text:
        return 0
    if text.isascii() and text.isdigit() and len(text) < 12:
        return int(text) * 1_000_000
    with contextlib.suppress(Fault):
        return max(now_us - int(duration_s(text, key) * 1e6), 1)
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign of a query arrives as a space
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Fault("invalid_argument", f"{key} is {text[:40]!r}: want 10m, Unix seconds or 2026-01-31T12:00:00Z")
    return max(int(moment.timestamp() * 1e6), 1)


def _wanted(request: Request, clock: Clock) -> Wanted:
    query = request.query_params
    function = query.get("function", "")
    return Wanted(
        namespace=check_name(request.path_params["namespace"], "namespace"),
        function=check_name(function) if function else "",
        status=query.get("status", ""),
        invocation_id=query.get("invocation", ""),
        since_us=moment_us(query.get("since", ""), "since", clock.unix_ns() // 1000),
    )


async def _paged(records: Records, wanted: Wanted, page: LogPage, *, limit: int) -> AsyncIterator[LogLine]:
    """Yield the newest lines, or from a beginning all lines up to now."""
    bounded = not (wanted.since_us or wanted.invocation_id)
    count = 0
    while page.items:
        for line in page.items:
            yield line
        count += len(page.items)
        if bounded or len(page.items) < limit or count >= LINES_MAX:
            return
        page = await records.logs(wanted, limit=limit, cursor=page.next)


async def _followed(
    records: Records, wanted: Wanted, page: LogPage, stopping: asyncio.Event
) -> AsyncIterator[LogLine]:
    """Yield lines as they come, until the caller or this process goes away."""
    while not stopping.is_set():
        for line in page.items:
            yield line
        if not page.items:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), FOLLOW_S)
        page = await records.logs(wanted, limit=PAGE_MAX, cursor=page.next)


async def _held(lines: AsyncIterator[LogLine], place: asyncio.Semaphore | None) -> AsyncIterator[bytes]:
    """Yield lines as NDJSON, while holding a follower's place."""
    async with place or contextlib.nullcontext():
        async for line in lines:
            yield msgspec.json.encode(_line(line)) + b"\n"


def _line(line: LogLine) -> dict[str, Any]:
    return msgspec.structs.asdict(line)
