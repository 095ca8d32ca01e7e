"""The admin API's routes for versions, aliases, history, rollback, and for enabling and disabling a function."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from wispd.api.admin_body import document, json_answer
from wispd.api.admin_functions import DEPLOY, Urls, deployed_view, function_view
from wispd.api.admin_guard import caller
from wispd.api.conditional import revision_of, tagged
from wispd.api.function_shapes import FunctionDeclaration, FunctionView
from wispd.api.permitting import conditional, needs
from wispd.api.querying import PageQuery, pack_cursor, query_of, unpack_cursor
from wispd.api.version_shapes import (
    AliasDeclaration,
    AliasList,
    AliasView,
    ChangeList,
    ChangeView,
    DeployedView,
    Enabling,
    KeptVersion,
    KeptVersionList,
    RollbackTarget,
    RolledBackView,
    StickyView,
)
from wispd.base.errors import Fault
from wispd.control import fields
from wispd.control.deployments import Deployments
from wispd.control.pointing import NUMBER_MAX, Pointing, check_alias, pointer_of
from wispd.model.alias import Pointer, Sticky
from wispd.model.record import time_text
from wispd.ports.versions import Alias, Cause, Change, Kept


def version_routes(deployments: Deployments, pointing: Pointing, *, urls: Urls) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}/functions/{name}")
    _versions(router, deployments, pointing, urls)
    _aliases(router, pointing, urls)

    @router.get("/history", **needs("functions.read", query=PageQuery, returns=ChangeList))
    async def history(request: Request, namespace: str, name: str) -> Response:
        """List what each alias pointed at, when, why and by whom, the newest first."""
        of = f"{namespace}/{name}"
        limit, before = page_of(request, "history", of)
        found = pointing.history(namespace, name, before=before, limit=limit + 1)
        shown = [change_view(one) for one in found[:limit]]
        more = pack_cursor("history", of, str(shown[-1].revision)) if len(found) > limit else None
        return json_answer(ChangeList(items=shown, next=more))

    @router.post(
        "/rollback",
        **needs("functions.write", takes=RollbackTarget | None, returns=RolledBackView, errors=["conflict"]),
    )
    async def rollback(request: Request, namespace: str, name: str) -> Response:
        """Give all calls back to the version that was live before, or to `version`."""
        given = fields.refuse_unknown_of(await document(request, empty=True), ["version"])
        number = fields.whole(given, "version", 0, low=1, high=NUMBER_MAX) if given.get("version") else 0
        moved = await pointing.rollback(namespace, name, number=number, by=caller(request))
        return json_answer(function_view(moved.function, urls) | {"before": moved.before or None})

    @router.put("/enabled", **needs("functions.write", takes=Enabling, returns=FunctionView, errors=["conflict"]))
    async def enable(request: Request, namespace: str, name: str) -> Response:
        """Enable a function, or disable it with a reason: new calls get 409, running ones finish."""
        given = fields.refuse_unknown_of(await document(request), ["enabled", "reason"])
        if "enabled" not in given:
            raise Fault("invalid_argument", "enabled must be true or false", key="enabled")
        enabled, reason = fields.flag(given, "enabled", True), fields.text(given, "reason", 1024)
        return json_answer(
            function_view(await pointing.enable(namespace, name, enabled=enabled, reason=reason), urls)
        )

    return router


def _versions(router: APIRouter, deployments: Deployments, pointing: Pointing, urls: Urls) -> None:
    @router.get("/versions", **needs("functions.read", query=PageQuery, returns=KeptVersionList))
    async def versions(request: Request, namespace: str, name: str) -> Response:
        """List the versions that are kept, the newest first, with the aliases that point at them."""
        of = f"{namespace}/{name}"
        limit, before = page_of(request, "versions", of)
        found = pointing.versions(namespace, name, before=before, limit=limit + 1)
        aliases = pointing.aliases(namespace, name)
        shown = [version_view(one, aliases) for one in found[:limit]]
        more = pack_cursor("versions", of, str(shown[-1]["number"])) if len(found) > limit else None
        return json_answer({"items": shown, "next": more})

    @router.post(
        "/versions",
        responses={201: {}, 422: {}},  # 422: it does not start
        **needs("functions.write", takes=FunctionDeclaration, returns=DeployedView, errors=DEPLOY),
    )
    async def make(request: Request, namespace: str, name: str) -> Response:
        """Make a version without pointing an alias at it."""
        deployed = await deployments.deploy(namespace, name, await document(request), alias="", by=caller(request))
        return json_answer(deployed_view(deployed, urls), 201 if deployed.fresh else 200)

    @router.get("/versions/{number}", **needs("functions.read", returns=KeptVersion))
    async def version(namespace: str, name: str, number: str) -> Response:
        """Show one version."""
        found = pointing.version(namespace, name, number=number_of(number))
        return json_answer(version_view(found, pointing.aliases(namespace, name)))

    @router.delete("/versions/{number}", status_code=204, **needs("functions.write", errors=["conflict"]))
    async def remove(namespace: str, name: str, number: str) -> Response:
        """Delete a version that no alias points at."""
        await pointing.remove_version(namespace, name, number=number_of(number))
        return Response(status_code=204)


def _aliases(router: APIRouter, pointing: Pointing, urls: Urls) -> None:
    @router.get("/aliases", **needs("functions.read", returns=AliasList))
    async def aliases(namespace: str, name: str) -> Response:
        """List the aliases of a function."""
        base = urls(namespace, name)
        return json_answer(
            AliasList(items=[alias_view(one, base) for one in pointing.aliases(namespace, name)], next=None)
        )

    @router.get("/aliases/{alias}", **conditional(needs("functions.read", returns=AliasView)))
    async def alias(namespace: str, name: str, alias: str) -> Response:
        """Show an alias; its ETag is for If-Match."""
        return _tagged(pointing.alias(namespace, name, alias), urls(namespace, name))

    @router.put(
        "/aliases/{alias}",
        **conditional(needs("functions.write", takes=AliasDeclaration, returns=AliasView, errors=["conflict"])),
    )
    async def point(request: Request, namespace: str, name: str, alias: str) -> Response:
        """Point an alias at a version, or divide its calls among several."""
        pointer = pointer_of(alias, await document(request))
        cause = Cause(why="alias set", by=caller(request), revision=revision_of(request))
        return _tagged(await pointing.point(namespace, name, pointer=pointer, cause=cause), urls(namespace, name))

    @router.delete("/aliases/{alias}", status_code=204, **conditional(needs("functions.write", errors=["conflict"])))
    async def remove(request: Request, namespace: str, name: str, alias: str) -> Response:
        """Delete an alias; `live` can't be deleted."""
        cause = Cause(why="alias deleted", by=caller(request), revision=revision_of(request))
        await pointing.remove_alias(namespace, name, alias=check_alias(alias), cause=cause)
        return Response(status_code=204)


def number_of(text: str) -> int:
    """Return a version's number. Raises: `Fault("not_found")`: nothing has another name."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Fault("not_found", f"{text[:40]!r} is no version; versions are numbers")
    return int(text)


def page_of(request: Request, kind: str, of: str) -> tuple[int, int]:
    """Return how many items a page has and the number it begins below; 0: the first page."""
    query = query_of(request, PageQuery)
    text = unpack_cursor(kind, of, query.cursor)
    return query.limit, int(text) if text.isdigit() else 0


def version_view(kept: Kept, aliases: list[Alias]) -> dict[str, Any]:
    """Return a version as the API shows it, without the values of its environment."""
    parts = {one.pointer.alias: percent(one.pointer, kept.version.number) for one in aliases}
    shown: dict[str, Any] = msgspec.to_builtins(kept.version) | {
        "memory": kept.version.memory_bytes or "auto",
        "created": time_text(kept.version.created_us),
        "created_by": kept.created_by,
        "aliases": {alias: part for alias, part in parts.items() if part},
    }
    shown.pop("created_us", None)
    shown["env"] = sorted(kept.version.env)
    return shown


def alias_view(alias: Alias, base: str) -> AliasView:
    """Return an alias as the API shows it."""
    return AliasView(
        **_pointed(alias.pointer),
        url=alias_url(base, alias.pointer.alias),
        revision=alias.revision,
        updated=time_text(alias.updated_us),
        updated_by=alias.updated_by,
    )


def change_view(change: Change) -> ChangeView:
    """Return an entry of the history."""
    return ChangeView(
        **_pointed(change.pointer),
        revision=change.revision,
        why=change.why,
        at=time_text(change.at_us),
        by=change.changed_by,
    )


def sticky_view(sticky: Sticky | None) -> StickyView | None:
    """Return what keeps callers with a version."""
    return StickyView(header=sticky.header, cookie=sticky.cookie, issue=sticky.issue) if sticky else None


def _pointed(pointer: Pointer) -> dict[str, Any]:
    return {
        "alias": pointer.alias,
        "versions": {str(share.number): share.weight for share in pointer.shares},
        "sticky": sticky_view(pointer.sticky),
    }


def percent(pointer: Pointer, number: int) -> float:
    """Return a version's part of an alias, 0 to 100."""
    total = sum(share.weight for share in pointer.shares)
    part = sum(share.weight for share in pointer.shares if share.number == number)
    return round(100 * part / total, 2) if total else 0.0


def alias_url(base: str, alias: str) -> str:
    """Return where an alias answers, from where its function does."""
    if alias == "live":
        return base
    if "/fn/" in base:
        return f"{base}:{alias}"
    scheme, _, rest = base.partition("://")
    return f"{scheme}://{alias}--{rest}"


def _tagged(alias: Alias, base: str) -> Response:
    return tagged(json_answer(alias_view(alias, base)), str(alias.revision))
