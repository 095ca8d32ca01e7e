"""The admin API as one ASGI application: every route behind the gate, every error a problem document."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from wispd.api.admin_gate import Gate
from wispd.api.admin_problems import fault_of_status, problem
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.model.published import Token


def admin_application(
    routers: Sequence[APIRouter], *, tokens: Sequence[Token], clock: Clock, loopback: bool
) -> ASGIApp:
    """Return the application. `loopback`: its listener is bound to loopback, so foreign Hosts are refused."""
    app = FastAPI(title="Wisp admin API", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for router in routers:
        app.include_router(router)

    @app.exception_handler(Fault)
    async def refused(_request: Request, fault: Exception) -> Response:
        assert isinstance(fault, Fault)
        return problem(fault)

    @app.exception_handler(HTTPException)
    async def refused_by_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        fault = fault_of_status(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}")
        fault.facts |= {key.lower(): value for key, value in (error.headers or {}).items() if key.lower() == "allow"}
        return problem(fault)

    @app.exception_handler(Exception)
    async def failed(_request: Request, error: Exception) -> Response:
        return problem(Fault("internal", f"this is a bug of the platform: {type(error).__name__}"))

    return Gate(app, tokens=tokens, clock=clock, loopback=loopback)
