"""Wisp, as user code imports it: `App`, `Event`, `Response`, `call`, … Standard library only, loaded on first use."""

from __future__ import annotations

TYPE_CHECKING = False  # not from typing, which is most of what importing this would cost
if TYPE_CHECKING:
    from wisp.app import App
    from wisp.calls import CallError, Reply, acall, call
    from wisp.errors import HttpError
    from wisp.event import Event
    from wisp.parameters import Body, Cookie, Header, Query
    from wisp.response import Response
    from wisp.runtime.context import Context

__all__ = [
    "App",
    "Body",
    "CallError",
    "Context",
    "Cookie",
    "Event",
    "Header",
    "HttpError",
    "Query",
    "Reply",
    "Response",
    "acall",
    "call",
]

_HOMES = {
    "App": "wisp.app",
    "Body": "wisp.parameters",
    "CallError": "wisp.calls",
    "Context": "wisp.runtime.context",
    "Cookie": "wisp.parameters",
    "Event": "wisp.event",
    "Header": "wisp.parameters",
    "HttpError": "wisp.errors",
    "Query": "wisp.parameters",
    "Reply": "wisp.calls",
    "Response": "wisp.response",
    "acall": "wisp.calls",
    "call": "wisp.calls",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wisp' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
