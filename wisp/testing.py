"""For tests of handlers without a node: events and contexts like those that the platform gives."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from wisp.event import Event, HttpRequest
from wisp.headers import Headers

__all__ = ["Context", "context", "http_event"]


def http_event(
    method: str = "GET", target: str = "/", body: Any = None, headers: dict[str, str] | None = None
) -> Event:
    """Return an event as it comes over HTTP. `target`: path and query below the function.

    A body that is neither bytes nor text is sent as JSON; `event.data` is decoded as it would be.
    """
    from urllib.parse import unquote

    given = dict(headers or {})
    if body is not None and "content-type" not in {name.lower() for name in given}:
        kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
        given["content-type"] = "application/octet-stream" if isinstance(body, bytes) else kind
    path, _, query = target.partition("?")
    event = Event("http.request", body, source=path)
    event.http = HttpRequest(method, unquote(path) or "/", query=query, headers=Headers(given.items()))
    if body is not None:
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        event.http.body = event.raw = content.encode() if isinstance(content, str) else content
    return event


class Context:
    """What a handler may know about its call, in a test."""

    def __init__(self, function: str, timeout_s: float) -> None:
        self.function = function
        self.namespace = "default"
        self.version = 1
        self.invocation_id = "inv_" + "0" * 32
        self.attempt = 0
        self.trace: str | None = None
        self.log = logging.getLogger(function)
        self.deadline = time.monotonic_ns() + int(timeout_s * 1e9)

    def remaining_s(self) -> float:
        """Return the seconds left until the platform would end the call."""
        return max(0.0, (self.deadline - time.monotonic_ns()) / 1e9)


def context(function: str = "function", *, timeout_s: float = 30.0) -> Context:
    """Return a context of a call that has just begun."""
    return Context(function, timeout_s)
