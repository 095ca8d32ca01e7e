"""The admin API's routes for what ran: records, log text, usage."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Annotated, Any, Final, Protocol

import msgspec
from fastapi import APIRouter, Request
from msgspec import Meta
from starlette.responses import Response, StreamingResponse

from wispd.api.admin_body import json_answer
from wispd.api.admin_gate import STILL
from wispd.api.admin_guard import principal_of
from wispd.api.permitting import NDJSON, needs
from wispd.api.querying import Cursor, Limit, pack_cursor, query_of, unpack_cursor
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.control.names import check_name
from wispd.control.units import duration_s
from wispd.model.record import InvocationRecord, LogLine, LogPage, Page
from wispd.model.usage import Invoice

LINES_MAX: Final = 10_000  # pieces of one answer that does not follow
FOLLOWERS_MAX: Final = 64
FOLLOWED_MAX: Final = 1000  # pieces of one question
FOLLOW_S: Final = 0.5


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which records or log text; empty fields mean all. `since_us` is Unix µs."""

    namespace: str
    function: str = ""
    status: str = ""
    invocation_id: str = ""
    since_us: int = 0


Moment = Annotated[str, Meta(max_length=40, description="10m (ago), Unix seconds, or RFC 3339.")]
Name = Annotated[str, Meta(max_length=64)]


class RecordsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which records, newest first."""

    function: Name = ""
    status: Annotated[str, Meta(max_length=32)] = ""
    since: Moment = ""
    limit: Limit = 50
    cursor: Cursor = ""


class LogsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which log text, oldest first. Without a beginning: the newest."""

    function: Name = ""
    invocation: Annotated[str, Meta(max_length=64)] = ""
    since: Moment = ""
    limit: Limit = 500
    follow: bool = False


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`by`: namespace, function, version, and one of minute, hour, day, with commas."""

    since: Moment = ""
    until: Moment = ""
    by: Annotated[str, Meta(max_length=100)] = "function"


class RecordPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some records."""

    items: tuple[InvocationRecord, ...]
    next: str | None


class Records(Protocol):
    """Questions about what ran; what has ended before the question is in the answer. Raises: `Fault`."""

    async def show(self, invocation_id: str, *, namespace: str) -> InvocationRecord:
        """Return one record of a namespace ("": of any)."""

    async def page(self, wanted: Wanted, *, limit: int, cursor: str) -> Page: ...

    async def logs(self, wanted: Wanted, *, limit: int, cursor: int | None) -> LogPage: ...

    async def bill(self, namespace: str, *, since_us: int, until_us: int, by: list[str]) -> Invoice: ...


def record_routes(records: Records, clock: Clock, stopping: asyncio.Event) -> APIRouter:
    """Return the routes. `stopping` ends those who follow a log."""
    router = APIRouter(prefix="/v1")
    followers = asyncio.Semaphore(FOLLOWERS_MAX)

    @router.get("/invocations/{invocation_id}", **needs("records.read", scope="own", returns=InvocationRecord))
    async def show(request: Request, invocation_id: str) -> Response:
        """Show the record of one run, with its log."""
        return json_answer(await records.show(invocation_id, namespace=principal_of(request).namespace))

    @router.get(
        "/namespaces/{namespace}/invocations", **needs("records.read", query=RecordsQuery, returns=RecordPage)
    )
    async def invocations(request: Request, namespace: str) -> Response:
        """List what ran, newest first."""
        query = query_of(request, RecordsQuery)
        wanted = Wanted(
            namespace=namespace,
            function=_named(query.function),
            status=query.status,
            since_us=moment_us(query.since, "since", clock.unix_ns() // 1000),
        )
        after = unpack_cursor("invocations", namespace, query.cursor)
        page = await records.page(wanted, limit=query.limit, cursor=after)
        more = pack_cursor("invocations", namespace, page.next) if page.next else None
        return json_answer(RecordPage(items=page.items, next=more))

    @router.get("/namespaces/{namespace}/logs", **needs("records.read", query=LogsQuery, returns=NDJSON))
    async def logs(request: Request, namespace: str) -> Response:
        """Read what functions wrote; `follow` goes on until the caller leaves, or its token is revoked."""
        query = query_of(request, LogsQuery)
        wanted = Wanted(
            namespace=namespace,
            function=_named(query.function),
            invocation_id=query.invocation,
            since_us=moment_us(query.since, "since", clock.unix_ns() // 1000),
        )
        limit, follow = query.limit, query.follow
        if follow and followers.locked():
            raise Fault("unavailable", f"{FOLLOWERS_MAX} callers follow logs already", retry_after_s=5)
        first = await records.logs(wanted, limit=limit, cursor=None)
        if follow:
            lines = _followed(records, wanted, first, stopping=stopping, still=request.scope[STILL])
        else:
            lines = _paged(records, wanted, first, limit=limit)
        return StreamingResponse(_held(lines, followers if follow else None), media_type="application/x-ndjson")

    async def billed(request: Request, namespace: str) -> Response:
        query = query_of(request, UsageQuery)
        by = [word for word in query.by.split(",") if word]
        now_us = clock.unix_ns() // 1000
        since_us, until_us = moment_us(query.since, "since", now_us), moment_us(query.until, "until", now_us)
        return json_answer(await records.bill(namespace, since_us=since_us, until_us=until_us, by=by))

    @router.get("/namespaces/{namespace}/usage", **needs("records.read", query=UsageQuery, returns=Invoice))
    async def usage(request: Request, namespace: str) -> Response:
        """Show what ran in a namespace, and what it costs."""
        return await billed(request, namespace)

    @router.get("/usage", **needs("node.read", query=UsageQuery, returns=Invoice))
    async def usage_of_node(request: Request) -> Response:
        """Show what ran in all namespaces, and what it costs."""
        return await billed(request, "")

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


def _named(function: str) -> str:
    return check_name(function) if function else ""


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
    records: Records, wanted: Wanted, page: LogPage, *, stopping: asyncio.Event, still: Callable[[], bool]
) -> AsyncIterator[LogLine]:
    """Yield lines as they come, until the caller or this process goes away, or `still` says that he may no longer."""
    while not stopping.is_set() and still():
        for line in page.items:
            yield line
        if not page.items:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), FOLLOW_S)
        page = await records.logs(wanted, limit=FOLLOWED_MAX, cursor=page.next)


async def _held(lines: AsyncIterator[LogLine], place: asyncio.Semaphore | None) -> AsyncIterator[bytes]:
    """Yield lines as NDJSON, while holding a follower's place."""
    async with place or contextlib.nullcontext():
        async for line in lines:
            yield msgspec.json.encode(_line(line)) + b"\n"


def _line(line: LogLine) -> dict[str, Any]:
    return msgspec.structs.asdict(line)
