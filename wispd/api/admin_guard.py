"""The guard of every route: is this principal allowed to, and is the request of the declared form?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastapi import Request

from wispd.api.permitting import AnyQuery, Declared, Raw, declared
from wispd.api.querying import refuse_unknown
from wispd.base.errors import Fault
from wispd.control.auditing import Account
from wispd.model.permission import Principal, may

DOCUMENT_MAX: Final = 1024 * 1024  # bytes of a JSON body
PRINCIPAL: Final = "wisp.principal"  # keys of the ASGI scope
ACCOUNT: Final = "wisp.account"
BODY_MAX: Final = "wisp.body_max"
_BODIED: Final = ("POST", "PUT", "PATCH")
_CHANGING: Final = (*_BODIED, "DELETE")
_JSON: Final = "application/json"


class Guard:
    """A dependency of every route. `exists`: is there a namespace of this name?"""

    def __init__(self, exists: Callable[[str], bool]) -> None:
        self._exists = exists

    async def __call__(self, request: Request) -> None:
        """Raises: `Fault` `unauthenticated`, `not_found`, `forbidden`, and what `check_form` raises."""
        route = declared(request.scope["route"])
        namespace = request.path_params.get("namespace", "")
        principal: Principal | None = request.scope.get(PRINCIPAL)
        account: Account = request.scope[ACCOUNT]
        _describe(account, request, route)
        known = route.scope == "namespace" and self._exists(namespace)
        try:
            authorize(route, principal, namespace=namespace, known=known)
        except Fault:
            account.denied = True
            raise
        check_form(request, route)


def authorize(route: Declared, principal: Principal | None, *, namespace: str, known: bool) -> None:
    """Let a principal use a route, or not. `namespace` is the path's; `known`: it exists.

    Raises: `unauthenticated`; `not_found` for a namespace that is not there or not the principal's (in the same
    words); `forbidden` for a role that may not, in its own namespace or on the node.
    """
    if route.scope == "open":
        return
    if principal is None:
        raise Fault("unauthenticated", "a valid token is needed: Authorization: Bearer <token>")
    wanted = ""
    if route.scope == "namespace":
        if not known or principal.namespace not in ("", namespace):
            raise Fault("not_found", f"there is no namespace {namespace[:80]!r} here", namespace=namespace[:80])
        wanted = namespace
    elif route.scope == "own":
        wanted = principal.namespace
    if not may(principal.role, principal.namespace, route.permission, wanted):
        of = f"in namespace {principal.namespace!r}" if principal.namespace else "of the node"
        need = "" if wanted or principal.of_node else "; this is about the whole node and needs a token of the node"
        raise Fault(
            "forbidden",
            f"the role {principal.role} {of} has no permission {route.permission}{need}",
            role=principal.role,
            permission=route.permission,
        )


def check_form(request: Request, route: Declared) -> None:
    """Refuse what the route does not take: parameters, content types, bodies that are too large by their own word.

    The bound of the body is left in the scope: the gate counts what really comes.
    Raises: `Fault` `invalid_argument`, `unsupported_media_type`, `payload_too_large`.
    """
    if route.query is not AnyQuery:
        refuse_unknown(request, route.query)
    takes = route.takes
    limit = takes.bytes_max if isinstance(takes, Raw) else DOCUMENT_MAX
    if limit:
        request.scope[BODY_MAX] = limit
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > limit:
            raise too_large(int(length[:20]), limit)
    if request.method in _BODIED:
        _check_type(request, takes.content_types if isinstance(takes, Raw) else (_JSON,))


def too_large(size: int, limit: int) -> Fault:
    """Return the fault of a body above its limit."""
    return Fault("payload_too_large", f"body is {size} bytes or more, limit {limit}", bytes=size, limit=limit)


def principal_of(request: Request) -> Principal:
    """Return who is asking; for handlers of routes that are not open."""
    principal = request.scope[PRINCIPAL]
    assert isinstance(principal, Principal), "the guard lets nobody else in"
    return principal


def _describe(account: Account, request: Request, route: Declared) -> None:
    """Say what this request is, for its audit entry."""
    template: str = request.scope["route"].path
    account.operation = f"{request.method} {template.removeprefix('/v1')}"
    account.namespace = request.path_params.get("namespace", "")
    account.target = "/".join(str(value) for key, value in request.path_params.items() if key != "namespace")
    account.changes = request.method in _CHANGING and route.permission not in ("functions.invoke", "open")


def caller(request: Request) -> str:
    """Return who is asking, in a word for histories."""
    principal = principal_of(request)
    return principal.name or principal.token_id


def _check_type(request: Request, allowed: tuple[str, ...]) -> None:
    if not allowed:
        return
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and given not in allowed:
        names = " or ".join(name for name in allowed if name)
        raise Fault("unsupported_media_type", f"the body is {given[:80] or 'of no type'!a}, this takes {names}")
