"""The admin API's route for calls as they end."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Request
from msgspec import Meta, Struct
from starlette.responses import Response

from wispd.api.admin_body import json_answer
from wispd.api.permitting import needs
from wispd.api.querying import query_of
from wispd.control.names import check_name


class LiveSource(Protocol):
    """The gateway, as this route sees it. Raises: `Fault`."""

    async def calls(self, namespace: str, after: int) -> dict[str, Any]: ...


class CallsQuery(Struct, frozen=True, kw_only=True):
    """From where on."""

    after: Annotated[int, Meta(ge=-1, lt=10**15, description="`next` of the answer before; -1: now.")] = -1


def live_routes(gateway: LiveSource) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}")

    @router.get("/calls", **needs("records.read", query=CallsQuery))
    async def calls(request: Request, namespace: str) -> Response:
        """Wait for calls that end, and return them: `items`, and `next` to ask with as `after`.

        Without `after` the answer comes at once and only says where now is. Nothing is stored: what is not fetched
        is forgotten, and the newest thousand are kept at most.
        """
        after = query_of(request, CallsQuery).after
        return json_answer(await gateway.calls(check_name(namespace, "namespace"), after))

    return router
