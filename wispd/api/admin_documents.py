"""The admin API's routes that describe it: the OpenAPI document, and a page made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from wispd.api.admin_body import json_answer
from wispd.api.docs_page import docs_page
from wispd.api.openapi import JSON, openapi_document
from wispd.api.permitting import Raw, all_routes, needs

HTML: Final = Raw("A page.", ("text/html",))
DOCUMENT: Final = Raw("The document.", (JSON,))
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"


def document_routes(routers: Sequence[APIRouter]) -> APIRouter:
    """Return the routes; the document covers `routers` as they are when it is first asked for."""
    router = APIRouter(prefix="/v1")
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(openapi_document(all_routes(routers)))
        return made

    @router.get("/openapi.json", **needs("open", returns=DOCUMENT))
    async def openapi() -> Response:
        """Return the OpenAPI 3.1 document of this API."""
        return json_answer(document())

    @router.get("/docs", **needs("open", returns=HTML))
    async def docs() -> Response:
        """Return this API's documentation as a page; it needs no script and nothing from elsewhere."""
        headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
        return Response(docs_page(document()), headers=headers, media_type="text/html; charset=utf-8")

    return router
