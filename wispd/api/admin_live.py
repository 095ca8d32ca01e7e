"""The admin API's route for calls as they end."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Request
from msgspec import Meta, Struct
from starlette.responses import Response

from wispd.api.admin_body import json_answer
from wispd.api.permitting import needs
from wispd.api.querying import query_of


class LiveSource(Protocol):
    """The gateway, as this route sees it. Raises: `Fault`."""

    async def calls(self, namespace: str, after: int) -> dict[str, Any]: ...


class CallsQuery(Struct, frozen=True, kw_only=True):
    """Which calls: those behind this number. -1: none, only say where now is."""

    after: Annotated[int, Meta(ge=-1, le=2**53, description="`next` of the answer before.")] = -1


class EndedCalls(Struct, frozen=True, kw_only=True):
    """What ended, oldest first: `kind` is call, log or refused. `next`: what to ask with."""

    items: list[dict[str, Any]]
    next: int


def live_routes(gateway: LiveSource) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}")

    @router.get("/calls", **needs("records.read", query=CallsQuery, returns=EndedCalls))
    async def calls(request: Request, namespace: str) -> Response:
        """Wait for calls that end, and return them.

        Without `after` the answer comes at once and only says where now is. Nothing is stored: what is not fetched
        is forgotten, and the newest thousand are kept at most.
        """
        return json_answer(await gateway.calls(namespace, query_of(request, CallsQuery).after))

    return router
