"""Awaitables in a synchronous loop: each thread that meets one gets an event loop of its own, once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

_own = threading.local()


def _loop() -> asyncio.AbstractEventLoop:
    found = getattr(_own, "loop", None)
    if found is None:
        found = _own.loop = asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = found
    return loop


def value_of(awaitable: Any) -> Any:
    """Run an awaitable to its end and return its value."""

    async def run() -> Any:
        return await awaitable

    return _loop().run_until_complete(run())


def pieces_of(pieces: Any) -> Iterator[Any]:
    """Iterate over an asynchronous iterator."""
    try:
        while True:
            try:
                piece = value_of(pieces.__anext__())
            except StopAsyncIteration:
                return
            yield piece
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            value_of(close())
