"""The admin API's routes for the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Request
from msgspec import Meta, Struct
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from wispd.api.admin_body import json_answer
from wispd.api.permitting import Scope, needs
from wispd.api.querying import Cursor, Limit, pack_cursor, query_of, unpack_cursor
from wispd.base.errors import Fault
from wispd.model.audit import AuditEntry, Outcome, Row, Verdict, entry_of
from wispd.model.record import time_text
from wispd.ports.catalogue import Reading

VERIFYING_MAX: Final = 1  # it reads the whole log


class AuditQuery(Struct, frozen=True, kw_only=True):
    """Which entries, newest first."""

    outcome: Outcome | None = None
    limit: Limit = 100
    cursor: Cursor = ""


class HeadQuery(Struct, frozen=True, kw_only=True):
    """`head`: the number and hash that an earlier verification answered."""

    head: Annotated[str, Meta(pattern=r"^([0-9]{1,18}:[0-9a-f]{64})?$")] = ""


class AuditView(Struct, frozen=True, kw_only=True):
    """One entry, its number in the log, and its hash."""

    seq: int
    hash: str
    time: str
    outcome: Outcome
    operation: str
    target: str
    namespace: str | None
    token_id: str | None
    token_name: str
    token_namespace: str | None
    role: str
    code: str
    source: str
    unsaid: int


class AuditPage(Struct, frozen=True, kw_only=True):
    items: list[AuditView]
    next: str | None


def audit_routes(reading: Reading, walk: Callable[[str], Verdict]) -> APIRouter:
    """Return the routes. `walk` verifies the whole log; it blocks."""
    router = APIRouter(prefix="/v1")
    verifying = asyncio.Semaphore(VERIFYING_MAX)

    async def entries(request: Request) -> Response:
        """List what was changed, refused or failed, newest first."""
        namespace = request.path_params.get("namespace")
        query = query_of(request, AuditQuery)
        before = unpack_cursor("audit", namespace or "", query.cursor)
        rows = reading.audit.page(
            namespace=namespace,
            outcome=query.outcome or "",
            before=int(before) if before else 0,
            limit=query.limit + 1,
        )
        shown = rows[: query.limit]
        more = pack_cursor("audit", namespace or "", str(shown[-1][0])) if len(rows) > query.limit else None
        return json_answer(AuditPage(items=[_view(row) for row in shown], next=more))

    for path, scope in (("/audit", "node"), ("/namespaces/{namespace}/audit", "namespace")):
        declared = needs("audit.read", scope=_scope(scope), query=AuditQuery, returns=AuditPage)
        router.get(path, **declared)(entries)

    @router.get("/audit/verification", **needs("audit.read", scope="node", query=HeadQuery, returns=Verdict))
    async def verification(request: Request) -> Response:
        """Walk along the whole log and say whether its chain of hashes holds, up to a head that was kept."""
        if verifying.locked():
            raise Fault("unavailable", "the log is being verified already", retry_after_s=5)
        async with verifying:
            return json_answer(await run_in_threadpool(walk, query_of(request, HeadQuery).head))

    return router


def _scope(word: str) -> Scope:
    return "node" if word == "node" else "namespace"


def _view(row: Row) -> AuditView:
    seq, _, content, found = row
    try:
        entry = entry_of(content)
    except msgspec.DecodeError:  # somebody wrote over it: `verification` says so
        entry = AuditEntry(time_us=0, outcome="failed", operation="(unreadable)")
    return AuditView(
        seq=seq,
        hash=found.hex(),
        time=time_text(entry.time_us),
        outcome=entry.outcome,
        operation=entry.operation,
        target=entry.target,
        namespace=entry.namespace or None,
        token_id=entry.token_id or None,
        token_name=entry.token_name,
        token_namespace=entry.token_namespace or None,
        role=entry.role,
        code=entry.code,
        source=entry.source,
        unsaid=entry.unsaid,
    )
