"""The admin API's route for calls as they end."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import APIRouter, Request
from starlette.responses import Response

from wispd.api.admin_body import json_answer
from wispd.api.permitting import needs
from wispd.base.errors import Fault
from wispd.control.names import check_name


class LiveSource(Protocol):
    """The gateway, as this route sees it. Raises: `Fault`."""

    async def calls(self, namespace: str, after: int) -> dict[str, Any]: ...


def live_routes(gateway: LiveSource) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}")

    @router.get("/calls", **needs("records.read"))
    async def calls(request: Request, namespace: str) -> Response:
        """Wait for calls that end, and return them: `items`, and `next` to ask with as `after`.

        Without `after` the answer comes at once and only says where now is. Nothing is stored: what is not fetched
        is forgotten, and the newest thousand are kept at most.
        """
        after = request.query_params.get("after", "")
        if after and not (after.isascii() and after.isdigit() and len(after) < 16):
            raise Fault("invalid_argument", f"after is {after[:40]!r}, it must be `next` of the answer before")
        return json_answer(await gateway.calls(check_name(namespace, "namespace"), int(after or -1)))

    return router
