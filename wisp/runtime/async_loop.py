"""The loop for asynchronous functions and ASGI applications: asyncio, up to `concurrency` calls at once."""

from __future__ import annotations

import asyncio
import inspect
import socket
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextvars import copy_context
from typing import Any, Final

from wisp.calls import CallError, Reply, reply_of
from wisp.response import Response
from wisp.runtime import calling, frames
from wisp.runtime.async_link import AsyncLink
from wisp.runtime.dialects import Speaker
from wisp.runtime.dialects.asgi import Exchange, Lifespan
from wisp.runtime.dialects.results import first_piece, response_of_stream, to_answer, to_piece
from wisp.runtime.failures import AnswerError
from wisp.runtime.frames import BODY_MAX, CANCEL_DISCONNECTED, MORE
from wisp.runtime.invocation import Invocation, current
from wisp.runtime.link import CallerGone, LinkClosed
from wisp.runtime.logs import Capture
from wisp.runtime.outcomes import Streamed, broken, check_answer, closing_log, failure, outcome
from wisp.runtime.settings import Settings

_EAGER: Final[dict[str, Any]] = {"eager_start": True} if sys.version_info >= (3, 12) else {}
_QUIET: Final = (b"", 0)


def run_async(
    link: socket.socket, capture: Capture, speaker: Speaker, *, settings: Settings, ready: Callable[[], None]
) -> None:
    """Answer calls until the link ends. Raises: `LoadError` when an application refuses to start, `FrameError`."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    running = asyncio.Task(_serve(link, capture, speaker, settings=settings, ready=ready), loop=loop)
    while True:
        try:
            loop.run_until_complete(running)
            return
        except (SystemExit, KeyboardInterrupt):  # out of a task that the function started itself
            if running.done():
                raise


async def _serve(
    link: socket.socket, capture: Capture, speaker: Speaker, *, settings: Settings, ready: Callable[[], None]
) -> None:
    several = settings.concurrency > 1
    async_link = AsyncLink(link, windows=several)
    calling.use(AsyncCaller(async_link))
    lifespan = Lifespan(speaker.application) if speaker.application is not None else None
    if lifespan is not None:
        await lifespan.start()
    ready()
    Calls(async_link, capture, speaker, lifespan=lifespan, settings=settings)
    async_link.resume()
    try:
        await async_link.ended
    except OSError:
        raise LinkClosed from None
    finally:
        if lifespan is not None:
            await lifespan.stop()


class Calls:
    """The calls that run, and those that wait for their turn."""

    def __init__(
        self, link: AsyncLink, capture: Capture, speaker: Speaker, *, lifespan: Lifespan | None, settings: Settings
    ) -> None:
        self._link = link
        self._capture = capture
        self._speaker = speaker
        self._lifespan = lifespan
        self._at_once = settings.concurrency
        self._timeout_s = settings.timeout_s  # for an application whose client left an endless stream
        self._running: dict[int, asyncio.Task[None]] = {}
        self._count = 0
        self._kept: deque[Invocation] = deque()
        link.busy = lambda: bool(self._kept) or self._count >= self._at_once
        link.invoked = self._invoked
        link.cancelled = self._cancelled

    def _invoked(self, invocation: Invocation) -> None:
        if self._kept or self._count >= self._at_once:
            self._kept.append(invocation)
        else:
            self._start(invocation)

    def _start(self, invocation: Invocation) -> None:
        self._count += 1
        context = copy_context()
        context.run(current.set, invocation)
        running = asyncio.Task(self._run(invocation), loop=self._link.loop, context=context, **_EAGER)
        if not running.done():
            self._running[invocation.number] = running

    def _cancelled(self, invocation: Invocation) -> None:
        """Nobody waits: stop a handler; an application is told, and stopped at the deadline."""
        running = self._running.get(invocation.number)
        if running is None or not invocation.started_ns:  # what has not begun finds out by itself
            return
        if self._speaker.application is None or invocation.cancelled != CANCEL_DISCONNECTED:
            running.cancel()
        else:
            left_s = self._timeout_s if invocation.endless else (invocation.deadline_ns - time.monotonic_ns()) / 1e9
            self._link.loop.call_later(max(0.0, left_s), running.cancel)

    async def _run(self, invocation: Invocation) -> None:
        invocation.started_ns = time.monotonic_ns()
        try:
            if invocation.cancelled:
                raise AnswerError("cancelled before it began")
            await self._answer(invocation)
        except LinkClosed:
            pass
        except BaseException as error:
            if not invocation.done:
                for packet in failure(invocation, error, self._capture):
                    self._link.send(packet)
        finally:
            self._finished(invocation)

    def _finished(self, invocation: Invocation) -> None:
        self._link.open.pop(invocation.number, None)
        self._running.pop(invocation.number, None)
        self._count -= 1
        if self._kept:
            self._link.loop.call_soon(self._next)
        else:
            self._link.resume()

    def _next(self) -> None:
        while self._kept and self._count < self._at_once:
            self._start(self._kept.popleft())

    # ── answers ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, invocation: Invocation) -> None:
        speaker = self._speaker
        if self._lifespan is not None:
            exchange_type = _socket_exchange() if invocation.is_websocket else Exchange
            exchange = exchange_type(self._link, self._capture, invocation, state=self._lifespan.state)
            await exchange.run(speaker.application)
            return
        assert speaker.answer_async is not None
        await self._link.read_whole_body(invocation)
        result = await speaker.answer_async(invocation)
        pieces: Any = result.body if isinstance(result, Response) else result
        if hasattr(pieces, "__anext__"):
            await self._stream(invocation, result, pieces)
            return
        status, block, body = result if type(result) is tuple and _is_answer(result) else to_answer(result)
        if isinstance(body, Streamed):
            await self._send_stream(invocation, status, block, first=body.first, rest=_steps(body), source=body)
        else:
            check_answer(status, block)
            await self._send_whole(invocation, status, block, body=body)

    async def _stream(self, invocation: Invocation, result: Any, pieces: AsyncIterator[Any]) -> None:
        first = await anext(pieces, None)
        status, block = response_of_stream(result, first)
        await self._send_stream(
            invocation, status, block, first=first_piece(first), rest=_pieces(pieces), source=pieces
        )

    async def _send_whole(self, invocation: Invocation, status: int, block: bytes, *, body: bytes) -> None:
        if len(body) <= BODY_MAX:
            log = self._capture.close(invocation)
            self._link.send(outcome(invocation, 0, status=status, block=block, body=body, log=log))
            return
        view = memoryview(body)
        await self._link.take_credit(invocation, BODY_MAX)
        log = self._capture.close(invocation)
        self._link.send(outcome(invocation, MORE, status=status, block=block, body=view[:BODY_MAX], log=log))
        try:
            await self._link.send_part(invocation, view[BODY_MAX:], more=False)
        except CallerGone as error:
            self._link.send(broken(invocation, error))

    async def _send_stream(
        self,
        invocation: Invocation,
        status: int,
        block: bytes,
        *,
        first: bytes,
        rest: AsyncIterator[bytes],
        source: Any,
    ) -> None:
        link, view = self._link, memoryview(first)
        last = frames.pack(frames.BODY, invocation.number)
        try:
            check_answer(status, block)
            await link.take_credit(invocation, min(len(view), BODY_MAX))
            link.send(outcome(invocation, MORE, status=status, block=block, body=view[:BODY_MAX], log=_QUIET))
            if len(view) > BODY_MAX:
                await link.send_part(invocation, view[BODY_MAX:], more=True)
            async for piece in rest:
                if piece:
                    await link.send_part(invocation, piece, more=True)
        except LinkClosed:
            raise
        except BaseException as error:
            if not invocation.answered:
                raise
            last = broken(invocation, error)
        finally:
            await _closed(source)
        for packet in closing_log(invocation, self._capture):
            link.send(packet)
        link.send(last)


def _socket_exchange() -> type[Exchange]:
    from wisp.runtime.dialects.asgi_websocket import SocketExchange

    return SocketExchange


def _is_answer(result: tuple[Any, ...]) -> bool:
    """Is it what a dialect has mapped already (and not a tuple of the function's own)?"""
    return len(result) == 3 and isinstance(result[1], bytes) and isinstance(result[2], bytes | Streamed)


async def _pieces(pieces: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield to_piece(piece)


async def _steps(body: Streamed) -> AsyncIterator[bytes]:
    """Give the loop its turn between the pieces of a plain generator."""
    for piece in body.rest:
        yield piece
        await asyncio.sleep(0)


async def _closed(source: Any) -> None:
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    if close is not None:
        found = close()
        if inspect.isawaitable(found):
            await found


class AsyncCaller:
    """Calls to other functions over an AsyncLink."""

    def __init__(self, link: AsyncLink) -> None:
        self._link = link

    async def acall(self, name: str, head: bytes, body: bytes, *, timeout_s: float | None) -> Reply:
        """Send the call and await its answer. Raises: `CallError`."""
        link, number, invocation = self._link, calling.next_number(), calling.running()
        future: asyncio.Future[list[frames.Frame]] = link.loop.create_future()
        link.replies[number] = future
        limit_s = calling.wait_s(invocation, timeout_s)
        try:
            head = calling.trace_of_caller(invocation) + head
            link.send(calling.packet_of(number, name, head, body=body))
            parts = await asyncio.wait_for(link.wait_for_frame(future), limit_s)
        except TimeoutError:
            raise CallError("timeout", f"{name} did not answer within {limit_s:.3f} s") from None
        finally:
            del link.replies[number]
        return reply_of(parts)

    def call(self, name: str, head: bytes, body: bytes, *, timeout_s: float | None) -> Reply:
        """Call from a thread of the function's own. Raises: `CallError`; `RuntimeError` on the loop's thread."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            waiting = self.acall(name, head, body, timeout_s=timeout_s)
            return asyncio.run_coroutine_threadsafe(waiting, self._link.loop).result()
        raise RuntimeError("wisp.call would block the event loop: use `await wisp.acall(...)`")
