"""The app dialect: an `App` with many entry points. Without asynchronous ones it needs no event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from wisp.app import App
from wisp.errors import HttpError
from wisp.response import Response
from wisp.runtime import frames
from wisp.runtime.apps.annotations import AnnotationError
from wisp.runtime.apps.problems import raised
from wisp.runtime.apps.signatures import SignatureError
from wisp.runtime.apps.site import Prepared, Site, finished
from wisp.runtime.detect import is_async
from wisp.runtime.dialects import Speaker
from wisp.runtime.invocation import Invocation
from wisp.runtime.loader import LoadError
from wisp.runtime.outcomes import Answer
from wisp.runtime.settings import Settings

THREADS_MAX: Final = 64  # plain callables that run at once beside asynchronous ones
_END: Final = object()


def speak_app(app: App, settings: Settings) -> Speaker:
    """Return the speaker of an App. Raises: `LoadError` for a signature that can't be served (in a trial)."""
    if not app.entries:
        raise LoadError(frames.FAILURE_HANDLER, f"the app {app.name!r} has no entry points: decorate some")
    site = Site(app, settings)
    if settings.describe:
        try:
            site.check()
        except (AnnotationError, SignatureError) as error:
            raise LoadError(frames.FAILURE_HANDLER, str(error)) from None
    if any(is_async(entry.target) for entry in app.entries):
        return Speaker(answer_async=_asynchronous(site, min(settings.concurrency, THREADS_MAX)))

    def answer(invocation: Invocation) -> Answer:
        call = site.prepare(invocation)
        if not isinstance(call, Prepared):
            return call
        try:
            return finished(call.entry.target(**call.arguments), call.entry.status)
        except HttpError as error:
            if invocation.is_http:
                return raised(error)
            raise  # an event has nobody to answer: it failed

    return Speaker(answer=answer)


def _asynchronous(site: Site, threads: int) -> Callable[[Invocation], Any]:
    """Return what answers where some callables are asynchronous: the plain ones run in threads."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="wisp-call")
    asynchronous = {entry.name: is_async(entry.target) for entry in site.app.entries}

    async def answer(invocation: Invocation) -> Any:
        call = site.prepare(invocation)
        if not isinstance(call, Prepared):
            return call
        try:
            result = await _result(call, pool, asynchronous=asynchronous[call.entry.name])
            return await _mapped(result, call.entry.status, pool)
        except HttpError as error:
            if invocation.is_http:
                return raised(error)
            raise  # an event has nobody to answer: it failed

    return answer


async def _result(call: Prepared, pool: ThreadPoolExecutor, *, asynchronous: bool) -> Any:
    target = call.entry.target
    if not asynchronous:
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: target(**call.arguments))
    result = target(**call.arguments)
    return result if hasattr(result, "__anext__") else await result


async def _mapped(result: Any, status: int | None, pool: ThreadPoolExecutor) -> Any:
    """Return an answer, or what the loop streams: an asynchronous iterator, alone or in a Response."""
    while hasattr(result, "__await__"):  # a plain callable that returned a coroutine
        result = await result
    body = result.body if isinstance(result, Response) else result
    if isinstance(body, Iterator):
        body = _stepped(body, pool)
    if not hasattr(body, "__anext__"):
        return finished(result, status)
    if isinstance(result, Response):
        return Response(body, result.status, result.headers, content_type=result.content_type)
    return Response(body, status or 200)


async def _stepped(pieces: Iterator[Any], pool: ThreadPoolExecutor) -> AsyncIterator[Any]:
    """Pull the pieces of a plain generator in a thread: it may wait."""
    loop = asyncio.get_running_loop()
    try:
        while (piece := await loop.run_in_executor(pool, next, pieces, _END)) is not _END:
            yield piece
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
