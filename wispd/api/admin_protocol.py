"""HTTP of the admin listener: uvicorn's, but its own refusals are problem documents, and heads are bounded."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wispd.api.admin_problems import problem
from wispd.base.errors import Fault

CONNECTIONS_MAX: Final = 1000
HEAD_BYTES_MAX: Final = 65_536  # request line and headers; what Node.js and nginx take is of that order
HEAD_S: Final = 10.0  # from the beginning of a request to the end of its headers


class AdminProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _in_head = True
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                text = f"request line and headers are more than {HEAD_BYTES_MAX} bytes"
                self._refuse(Fault("headers_too_large", text, limit=HEAD_BYTES_MAX))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        self._end_head()
        full = len(self.connections) > CONNECTIONS_MAX or len(self.tasks) >= CONNECTIONS_MAX
        if full:
            self.app = overloaded
        super().on_headers_complete()
        self.app = self.config.loaded_app

    def send_400_response(self, msg: str) -> None:
        self._refuse(Fault("malformed_request", f"this is no HTTP/1.1 request: {msg}"))

    def _begin_head(self) -> None:
        self._end_head()
        self._in_head, self._head_bytes = True, 0
        self._late = self.loop.call_later(HEAD_S, self._time_out)

    def _end_head(self) -> None:
        self._in_head = False
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _time_out(self) -> None:
        self._refuse(Fault("request_timeout", f"the request's headers did not end within {HEAD_S:.0f} s"))

    def _refuse(self, fault: Fault) -> None:
        """Answer, and close: nothing that follows can be understood."""
        self._end_head()
        if self.transport is None or self.transport.is_closing():
            return
        answer = problem(fault)
        lines = [f"HTTP/1.1 {answer.status_code} {fault.code}", "connection: close"]
        lines += [f"{name.decode()}: {value.decode()}" for name, value in answer.raw_headers]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + bytes(answer.body))
        self.transport.close()


async def overloaded(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that too much is going on."""
    text = f"{CONNECTIONS_MAX} connections or requests are open already"
    await problem(Fault("unavailable", text, retry_after_s=1))(scope, receive, send)
