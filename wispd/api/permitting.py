"""What every route of the admin API says about itself; one that does not is a bug found at start.

The permission is enforced (`admin_guard`); query and body are checked before the handler runs; and the OpenAPI
document is made from all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import msgspec
from fastapi import APIRouter
from fastapi.routing import APIRoute
from msgspec import Struct

from wispd.base.errors import CODES
from wispd.model.permission import OF_NODE, Permission

KEY: Final = "x-wisp-permission"

Scope = Literal["namespace", "node", "own", "open"]


class Raw(Struct, frozen=True):
    """A body that is no JSON. `bytes_max` 0: the handler bounds it; no `content_types`: any, or none."""

    description: str
    content_types: tuple[str, ...] = ()
    bytes_max: int = 0


ANYTHING: Final = Raw("Whatever the function takes or gives.")
ZIP: Final = Raw("A zip archive.", ("application/zip", "application/octet-stream", ""))
NDJSON: Final = Raw("One JSON document a line.", ("application/x-ndjson",))
TEXT: Final = Raw("Text.", ("text/plain",))


class AnyQuery(Struct):
    """Query parameters are somebody else's business."""


class Declared(Struct, frozen=True, kw_only=True):
    """What a route declares. `takes` and `returns` are msgspec types or `Raw`; None: nothing.

    `takes` of `… | None`: there may be no body.

    `tagged`: `conditional`.
    """

    permission: Permission
    scope: Scope
    query: type[Struct] | None = None
    takes: Any = None
    returns: Any = None
    errors: tuple[str, ...] = ()
    tagged: bool = False


def needs(
    permission: Permission,
    *,
    scope: Scope | None = None,
    query: type[Struct] | None = None,
    takes: Any = None,
    returns: Any = None,
    errors: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what a route is declared with: `@router.get(path, **needs("records.read", returns=Record))`.

    `scope`: whose it is. Left out, it is the path's `{namespace}`, or the node for permissions of the node. "own": no
    namespace in the path; the handler shows a principal (`principal_of`) only what is of its own namespace.
    `query`: a msgspec Struct; parameters that are not in it are refused. Read it with `query_of`.
    `errors`: codes beyond those that follow from all this.
    """
    unknown = set(errors) - set(CODES)
    if unknown:
        raise ValueError(f"no error codes: {sorted(unknown)}")
    if scope is None:
        scope = "open" if permission == "open" else "node" if permission in OF_NODE else "namespace"
    declared = Declared(
        permission=permission, scope=scope, query=query, takes=takes, returns=returns, errors=tuple(errors)
    )
    return {"openapi_extra": {KEY: declared}}


def conditional(needed: dict[str, Any]) -> dict[str, Any]:
    """Return `needed` for a route whose answers have an ETag, and whose changes heed `If-Match`."""
    return {"openapi_extra": {KEY: msgspec.structs.replace(needed["openapi_extra"][KEY], tagged=True)}}


def declared(route: APIRoute) -> Declared:
    """Return what a route says about itself. Raises: `ValueError` for one that says nothing."""
    found = (route.openapi_extra or {}).get(KEY)
    if not isinstance(found, Declared) or found.permission not in get_args(Permission):
        raise ValueError(f"{route.methods} {route.path} declares no permission: add **needs(…)")
    if (found.scope == "namespace") != ("{namespace}" in route.path):
        raise ValueError(f"{route.path}: scope {found.scope!r} and the path's {{namespace}} don't go together")
    return found


def all_routes(routers: Sequence[APIRouter]) -> list[tuple[APIRoute, Declared]]:
    """Return every route with its declaration. Raises: `ValueError` for anything that could slip past the guard."""
    found = []
    for router in routers:
        for route in router.routes:
            if not isinstance(route, APIRoute):
                raise ValueError(f"{route!r} is no plain route: it can't be guarded")
            found.append((route, declared(route)))
    return found
