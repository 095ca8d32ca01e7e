"""The admin API's routes for secrets. A value goes in and never comes out: not in answers, not in errors."""

from __future__ import annotations

import binascii
from typing import Final

import msgspec
from fastapi import APIRouter, Request
from msgspec import Struct
from starlette.responses import Response

from wispd.api.admin_body import json_answer
from wispd.api.permitting import needs
from wispd.api.querying import PageQuery, pack_cursor, query_of, unpack_cursor
from wispd.base.errors import Fault
from wispd.control.secrets import Rotated, Secrets
from wispd.model.record import time_text
from wispd.model.secret import VALUE_BYTES_MAX, SealedSecret

BODY_MAX: Final = 6 * VALUE_BYTES_MAX + 4096  # JSON may need six bytes for one
_STORING: Final = ("storage_full",)


class SecretValue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a PUT: text in `value`, or bytes in `base64`."""

    value: str | None = None
    base64: str | None = None

    def __repr__(self) -> str:
        return "SecretValue(…)"


class SecretView(Struct, frozen=True, kw_only=True):
    """A secret, without its value. `version` counts the values that were set."""

    name: str
    namespace: str
    version: int
    created: str
    updated: str


class SecretList(Struct, frozen=True, kw_only=True):
    items: list[SecretView]
    next: str | None


class Force(Struct, frozen=True, kw_only=True):
    """`force`: even when functions use it."""

    force: bool = False


def secret_routes(secrets: Secrets) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    path = "/v1/namespaces/{namespace}/secrets"

    @router.put(path + "/{name}", **needs("secrets.write", takes=SecretValue, returns=SecretView, errors=_STORING))
    async def put(request: Request, namespace: str, name: str) -> Response:
        """Set a secret. New instances get it; idle ones of functions that use it are replaced."""
        stored, fresh = await secrets.put(namespace, name, await _value(request))
        return json_answer(secret_view(stored), 201 if fresh else 200)

    @router.get(path + "/{name}", **needs("secrets.write", returns=SecretView))
    async def show(namespace: str, name: str) -> Response:
        """Show when a secret was set. Nobody can read its value."""
        return json_answer(secret_view(secrets.show(namespace, name)))

    @router.get(path, **needs("secrets.write", query=PageQuery, returns=SecretList))
    async def listed(request: Request, namespace: str) -> Response:
        """List the secrets of a namespace, without their values."""
        page = query_of(request, PageQuery)
        after = unpack_cursor("secrets", namespace, page.cursor)
        found = secrets.page(namespace, after=after, limit=page.limit + 1)
        shown = found[: page.limit]
        more = pack_cursor("secrets", namespace, shown[-1].name) if len(found) > page.limit else None
        return json_answer(SecretList(items=[secret_view(one) for one in shown], next=more))

    @router.delete(path + "/{name}", status_code=204, **needs("secrets.write", query=Force, errors=["conflict"]))
    async def delete(request: Request, namespace: str, name: str) -> Response:
        """Delete a secret. One that live functions use stays, unless it is forced."""
        await secrets.delete(namespace, name, force=query_of(request, Force).force)
        return Response(status_code=204)

    @router.post("/v1/secrets/rotate-key", **needs("node.write", returns=Rotated, errors=["conflict", *_STORING]))
    async def rotate() -> Response:
        """Seal all secrets with a new master key and forget the former one."""
        return json_answer(await secrets.rotate())

    return router


def secret_view(secret: SealedSecret) -> SecretView:
    """Return a secret as the API shows it."""
    return SecretView(
        name=secret.name,
        namespace=secret.namespace,
        version=secret.version,
        created=time_text(secret.created_us),
        updated=time_text(secret.updated_us),
    )


async def _value(request: Request) -> bytes:
    """Return the value of the body. What is wrong with it is said without quoting it."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > BODY_MAX:
            raise Fault("payload_too_large", f"the body is more than {BODY_MAX} bytes", limit=BODY_MAX)
    try:
        given = msgspec.json.decode(content, type=SecretValue)
        if given.value is not None and given.base64 is None:
            return given.value.encode()
        if given.base64 is not None and given.value is None:
            return binascii.a2b_base64(given.base64, strict_mode=True)
    except (msgspec.DecodeError, UnicodeError, binascii.Error):
        pass
    raise Fault("invalid_argument", 'the body must be {"value": "text"} or {"base64": "…"}')
