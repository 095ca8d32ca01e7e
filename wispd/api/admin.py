"""The admin API as one ASGI application: every route behind gate and guard, every error a problem document."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from wispd.api.admin_gate import Find, Gate
from wispd.api.admin_guard import ACCOUNT, Guard
from wispd.api.admin_problems import fault_of_status, problem
from wispd.api.permitting import all_routes
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.control.auditing import Auditor


def admin_application(
    routers: Sequence[APIRouter],
    *,
    find: Find,
    auditor: Auditor,
    exists: Callable[[str], bool],
    clock: Clock,
    loopback: bool,
) -> Gate:
    """Return the application. `loopback`: its listener is bound to loopback, so foreign Hosts are refused.

    `find` knows tokens by their digest, `exists` namespaces by their name.
    Raises: `ValueError` for a route that declares no permission, or that could slip past the guard.
    """
    routes = all_routes(routers)
    open_paths = {route.path for route, declared in routes if declared.scope == "open"}
    app = FastAPI(title="Wisp admin API", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    guard = Guard(exists)
    for router in routers:
        app.include_router(router, dependencies=[Depends(guard)])
    _explain_errors(app)
    return Gate(app, find=find, auditor=auditor, open_paths=open_paths, clock=clock, loopback=loopback)


def _explain_errors(app: FastAPI) -> None:
    @app.exception_handler(Fault)
    async def refused(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, Fault)
        return _told(request, fault)

    @app.exception_handler(HTTPException)
    async def refused_by_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        fault = fault_of_status(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}")
        fault.facts |= {key.lower(): value for key, value in (error.headers or {}).items() if key.lower() == "allow"}
        return _told(request, fault)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return _told(request, Fault("invalid_argument", f"{place}: {first['msg']}"))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return _told(request, Fault("internal", f"this is a bug of the platform: {type(error).__name__}"))


def _told(request: Request, fault: Fault) -> Response:
    """Return the answer, and leave its code for the audit entry."""
    request.scope[ACCOUNT].code = fault.code
    return problem(fault)
