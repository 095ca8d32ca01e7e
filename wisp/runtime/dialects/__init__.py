"""Dialects: how user code wants to be called. Each gives the loops the same thing, a `Speaker`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from wisp.runtime.invocation import Invocation
from wisp.runtime.loader import Loaded
from wisp.runtime.outcomes import Answer
from wisp.runtime.settings import Settings


class Speaker(NamedTuple):
    """What a loop needs to know of a handler.

    Exactly one of the three is set. `answer` blocks; `answer_async` is awaited (its answer's body may be an async
    iterator); `application` is an ASGI application. `streaming`: the body is read as it arrives, else it is complete
    before the call begins.
    """

    answer: Callable[[Invocation], Answer] | None = None
    answer_async: Callable[[Invocation], Awaitable[Any]] | None = None
    application: Any = None
    streaming: bool = False


def speaker(loaded: Loaded, settings: Settings) -> Speaker:
    """Return the speaker of a loaded handler's dialect."""
    if loaded.dialect == "lambda":
        from wisp.runtime.dialects.lambdas import speak_lambda

        return speak_lambda(loaded, settings)
    if loaded.dialect == "asgi":
        return Speaker(application=loaded.target, streaming=True)
    if loaded.dialect == "wsgi":
        from wisp.runtime.dialects.wsgi import speak_wsgi

        return speak_wsgi(loaded.target, settings)
    if loaded.dialect == "app":
        from wisp.runtime.dialects.apps import speak_app

        return speak_app(loaded.target, settings)
    from wisp.runtime.dialects.native import speak_native

    return speak_native(loaded.target, settings)
