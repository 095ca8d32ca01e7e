"""The ASGI dialect: FastAPI, Starlette, Litestar, Django and every other ASGI 3 application.

Source: ASGI specification 3.0, HTTP & Lifespan (spec version 2.4: `send` raises OSError once the client is gone).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import unquote

from wisp.runtime import frames
from wisp.runtime.async_link import AsyncLink
from wisp.runtime.dialects.requests import host_of, http_view, peer_of
from wisp.runtime.dialects.results import HEADERS_MAX
from wisp.runtime.failures import AnswerError, bounded, first_line, trace_of
from wisp.runtime.frames import BODY_MAX, MORE
from wisp.runtime.invocation import Invocation
from wisp.runtime.loader import LoadError
from wisp.runtime.logs import Capture
from wisp.runtime.outcomes import broken, check_answer, closing_log, outcome

Message = MutableMapping[str, Any]

STOP_S: Final = 2.0  # what an application gets to shut down; the sandbox ends soon after the link
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_VERSIONS: Final = {"version": "3.0", "spec_version": "2.4"}


def scope_of(invocation: Invocation, state: dict[str, Any]) -> dict[str, Any]:
    """Return the HTTP scope. `path` includes `root_path`, as the specification says since 2023."""
    view = http_view(invocation)
    raw_path = view.target.partition(b"?")[0]
    return {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": "1.1",
        "method": view.method,
        "scheme": invocation.scheme,
        "path": _decoded(raw_path),
        "raw_path": raw_path,
        "root_path": _decoded(view.mount),
        "query_string": view.query,
        "headers": view.headers,
        "client": peer_of(view.peer),
        "server": host_of(view.headers, "localhost", 443 if invocation.scheme == "https" else 80),
        "state": state.copy(),
        "extensions": {},
        "wisp.invocation_id": invocation.id,
    }


def _decoded(path: bytes) -> str:
    text = path.decode("latin-1")
    return unquote(text) if "%" in text else text


class Exchange:
    """One request and its response."""

    def __init__(self, link: AsyncLink, capture: Capture, invocation: Invocation, *, state: dict[str, Any]) -> None:
        self._link = link
        self._capture = capture
        self._invocation = invocation
        self._state = state
        self._body_done = False
        self._finished = False
        self._head: tuple[int, bytes] | None = None  # not sent yet: it leaves with the first piece of the body
        self._started = False

    async def run(self, application: Any) -> None:
        """Run the application; what it raises before its response began is raised."""
        try:
            await application(self.scope(), self.receive, self.send)
        except BaseException as error:
            if not self._started:
                raise
            self._close(broken(self._invocation, error))
            return
        if self._head is None and not self._started:
            raise AnswerError("the application returned without an answer")
        if not self._finished:
            self._close(None)

    def scope(self) -> Message:
        return scope_of(self._invocation, self._state)

    async def receive(self) -> Message:
        invocation = self._invocation
        if not self._body_done and not invocation.cancelled:
            body = await self._link.read_body(invocation)
            if not invocation.cancelled:
                more = invocation.open_body or bool(invocation.parts)
                self._body_done = not more
                return {"type": "http.request", "body": body, "more_body": more}
        while not invocation.cancelled and not self._finished:
            await self._link.news(invocation)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._invocation.cancelled:
            raise OSError("the client is gone")
        kind = message["type"]
        if kind == "http.response.start" and self._head is None and not self._started:
            self._head = int(message["status"]), block_of(message.get("headers") or ())
            check_answer(*self._head)
        elif kind == "http.response.body" and (self._head is not None or self._started) and not self._finished:
            body = message.get("body", b"")
            await self._body(bytes(body), more=bool(message.get("more_body", False)))
        else:
            raise RuntimeError(f"ASGI message {kind!r} has no place here")

    async def _body(self, body: bytes, *, more: bool) -> None:
        link, invocation = self._link, self._invocation
        if self._head is None:
            if body:
                await link.send_part(invocation, body, more=True)
            if not more:
                self._close(None)
            return
        if not more and len(body) <= BODY_MAX:
            self._close(None, body)
            return
        view = memoryview(body)
        await link.take_credit(invocation, min(len(view), BODY_MAX))
        self._open(MORE, view[:BODY_MAX], (b"", 0))
        if len(view) > BODY_MAX:
            await link.send_part(invocation, view[BODY_MAX:], more=True)
        if not more:
            self._close(None)

    def _open(self, flags: int, body: bytes | memoryview, log: tuple[bytes, int]) -> None:
        assert self._head is not None
        status, block = self._head
        self._head, self._started = None, True
        self._link.send(outcome(self._invocation, flags, status=status, block=block, body=body, log=log))

    def _close(self, last: bytes | None, body: bytes = b"") -> None:
        """Send the last frame of the call: the whole outcome where nothing has left yet."""
        if self._finished:
            return
        self._finished = True
        invocation = self._invocation
        if self._head is not None and last is None:
            self._open(0, body, self._capture.close(invocation))
        else:
            for packet in closing_log(invocation, self._capture):
                self._link.send(packet)
            self._link.send(last if last is not None else frames.pack(frames.BODY, invocation.number))
        self._link.woken(invocation)


def block_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the header block of the application's (name, value) byte pairs."""
    lines = []
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            shown = bytes(value)[:60]
            raise AnswerError(f"header {bytes(name)[:60]!r} has characters that are not allowed: {shown!r}")
        lines.append(b"%b: %b\r\n" % (name, value))
    if len(lines) > HEADERS_MAX:
        raise AnswerError(f"the response has {len(lines)} headers, limit {HEADERS_MAX}")
    return b"".join(lines)


class Lifespan:
    """Startup and shutdown of an application, once each. An application that knows no lifespan goes without."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._running: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}

    async def start(self) -> None:
        """Run the startup. Raises: `LoadError` when the application says that it failed."""
        self._incoming.put_nowait({"type": "lifespan.startup"})
        self._running = asyncio.Task(self._run(), loop=asyncio.get_running_loop())
        message = await self._answer
        if message is not None and message["type"] == "lifespan.startup.failed":
            text = str(message.get("message") or "the application's startup failed")
            last_line = text.strip().rpartition("\n")[2]  # frameworks send a whole traceback
            trace = bounded(text.encode("utf-8", "backslashreplace"), frames.TRACE_MAX)
            raise LoadError(frames.FAILURE_IMPORT, f"startup failed: {last_line}", trace)

    async def stop(self) -> None:
        """Run the shutdown, as far as it gets within STOP_S."""
        if self._running is None or self._running.done():
            return
        self._answer = asyncio.get_running_loop().create_future()
        self._incoming.put_nowait({"type": "lifespan.shutdown"})
        both: list[asyncio.Future[Any]] = [self._answer, self._running]
        await asyncio.wait(both, timeout=STOP_S, return_when=asyncio.FIRST_COMPLETED)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": _VERSIONS, "state": self.state}
        started = self._answer
        try:
            await self._application(scope, self._incoming.get, self._send)
        except BaseException as error:
            if started.done():
                print((first_line(error) + b"\n" + trace_of(error)).decode("utf-8", "replace"))
        if not self._answer.done():
            self._answer.set_result(None)

    async def _send(self, message: Message) -> None:
        if message["type"].startswith("lifespan.") and not self._answer.done():
            self._answer.set_result(message)
