"""The admin API's routes for tokens and namespaces."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Request
from msgspec import Meta, Struct
from starlette.responses import Response

from wispd.api.admin_body import body_of, json_answer
from wispd.api.admin_guard import principal_of
from wispd.api.permitting import Scope, needs
from wispd.api.querying import PageQuery, pack_cursor, query_of, unpack_cursor
from wispd.base.errors import Fault
from wispd.control.tenancy import EXPIRES_MAX_S, Tenancy
from wispd.control.units import duration_s
from wispd.model.permission import Role
from wispd.model.record import time_text
from wispd.ports.access import Credential, Namespace
from wispd.ports.catalogue import Reading

NAME_MAX: Final = 100


class TokenWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token to make. Without `expires` it does not expire."""

    role: Role
    name: Annotated[str, Meta(max_length=NAME_MAX, description="For people.")] = ""
    expires: Annotated[str, Meta(max_length=40, examples=["30d"])] | None = None


class TokenView(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A token, without its text."""

    id: str
    name: str
    role: Role
    namespace: str | None
    created: str
    created_by: str
    expires: str | None


class TokenMade(Struct, frozen=True, kw_only=True):
    """A new token. `token` is its text, shown this once and kept nowhere."""

    id: str
    name: str
    role: Role
    namespace: str | None
    expires: str | None
    token: str


class TokenList(Struct, frozen=True, kw_only=True):
    items: list[TokenView]
    next: str | None


class NamespaceWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The namespace to create. Names are as those of functions, unique ignoring case."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]


class NamespaceView(Struct, frozen=True, kw_only=True):
    name: str
    created: str


class NamespaceList(Struct, frozen=True, kw_only=True):
    items: list[NamespaceView]
    next: str | None


def token_routes(tenancy: Tenancy, reading: Reading, *, of_node: bool) -> APIRouter:
    """Return the routes for tokens of namespaces, or for those of the node."""
    router = APIRouter(prefix="/v1" if of_node else "/v1/namespaces/{namespace}")
    scope: Scope = "node" if of_node else "namespace"

    @router.post(
        "/tokens",
        status_code=201,
        **needs("tokens.write", scope=scope, takes=TokenWanted, returns=TokenMade, errors=["conflict"]),
    )
    async def create_token(request: Request) -> Response:
        """Create a token; its text is in this answer and nowhere else."""
        wanted = await body_of(request, TokenWanted)
        namespace = request.path_params.get("namespace", "")
        text, token = await tenancy.issue(
            principal_of(request), namespace, role=wanted.role, name=_plain(wanted.name), expires_s=_expiry(wanted)
        )
        made = TokenMade(
            id=token.id, name=token.name, role=wanted.role, namespace=namespace or None,
            expires=_time(token.expires_us), token=text,
        )  # fmt: skip
        return json_answer(made, 201)

    @router.get("/tokens", **needs("tokens.write", scope=scope, query=PageQuery, returns=TokenList))
    async def list_tokens(request: Request) -> Response:
        """List the tokens that are not revoked, without their texts."""
        namespace = request.path_params.get("namespace", "")
        page = query_of(request, PageQuery)
        after = unpack_cursor("tokens", namespace, page.cursor)
        found = reading.credentials.page(namespace, after=after, limit=page.limit + 1)
        shown = found[: page.limit]
        more = pack_cursor("tokens", namespace, shown[-1].token.id) if len(found) > page.limit else None
        return json_answer(TokenList(items=[_token_view(one) for one in shown], next=more))

    @router.delete("/tokens/{token_id}", status_code=204, **needs("tokens.write", scope=scope, errors=["conflict"]))
    async def revoke_token(request: Request, token_id: str) -> Response:
        """Revoke a token: it is refused from now on, on both listeners."""
        await tenancy.revoke(request.path_params.get("namespace", ""), token_id)
        return Response(status_code=204)

    return router


def namespace_routes(tenancy: Tenancy, reading: Reading) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/namespaces")

    @router.post(
        "", status_code=201,
        **needs("namespaces.write", takes=NamespaceWanted, returns=NamespaceView, errors=["conflict"]),
    )  # fmt: skip
    async def create_namespace(request: Request) -> Response:
        """Create a namespace."""
        wanted = await body_of(request, NamespaceWanted)
        return json_answer(_namespace_view(await tenancy.found(wanted.name)), 201)

    @router.get("", **needs("namespaces.read", scope="own", query=PageQuery, returns=NamespaceList))
    async def list_namespaces(request: Request) -> Response:
        """List the namespaces that the token reaches."""
        principal = principal_of(request)
        page = query_of(request, PageQuery)
        after = unpack_cursor("namespaces", principal.namespace, page.cursor)
        if principal.of_node:
            found = reading.namespaces.page(after=after, limit=page.limit + 1)
        else:
            own = reading.namespaces.find(principal.namespace)
            found = [own] if own is not None else []
        shown = found[: page.limit]
        more = pack_cursor("namespaces", "", shown[-1].name) if len(found) > page.limit else None
        return json_answer(NamespaceList(items=[_namespace_view(one) for one in shown], next=more))

    @router.get("/{namespace}", **needs("namespaces.read", returns=NamespaceView))
    async def show_namespace(namespace: str) -> Response:
        """Show one namespace."""
        found = reading.namespaces.find(namespace)
        if found is None:
            raise Fault("not_found", f"there is no namespace {namespace[:80]!r} here")
        return json_answer(_namespace_view(found))

    @router.delete(
        "/{namespace}", status_code=204, **needs("namespaces.write", scope="namespace", errors=["conflict"])
    )
    async def delete_namespace(namespace: str) -> Response:
        """Delete a namespace that has no functions; its tokens are revoked."""
        await tenancy.dissolve(namespace)
        return Response(status_code=204)

    return router


def _expiry(wanted: TokenWanted) -> float:
    if wanted.expires is None:
        return 0
    seconds = duration_s(wanted.expires, "expires")
    if not 1 <= seconds <= EXPIRES_MAX_S:
        raise Fault("invalid_argument", f"expires is {wanted.expires[:40]!r}, allowed are 1s to 3650d", key="expires")
    return seconds


def _plain(name: str) -> str:
    if not name.isprintable():
        raise Fault("invalid_argument", f"name {name[:80]!a} has characters that can't be shown", key="name")
    return name


def _token_view(one: Credential) -> TokenView:
    token = one.token
    return TokenView(
        id=token.id, name=token.name, role=token.role, namespace=token.namespace or None,  # type: ignore[arg-type]
        created=time_text(one.created_us), created_by=one.created_by, expires=_time(token.expires_us),
    )  # fmt: skip


def _namespace_view(one: Namespace) -> NamespaceView:
    return NamespaceView(name=one.name, created=time_text(one.created_us))


def _time(unix_us: int) -> str | None:
    return time_text(unix_us) if unix_us else None
