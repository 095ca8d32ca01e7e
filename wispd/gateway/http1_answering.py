"""The writing half of a connection: it frames answers and knows when the connection ends with one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from wispd.base.errors import Fault
from wispd.gateway.http1_answer import bodiless, chunk, status_line
from wispd.gateway.http1_body import BodyReader
from wispd.gateway.http1_deadlines import Phase
from wispd.gateway.http1_head import Head

if TYPE_CHECKING:
    from wispd.gateway.http1 import HttpServer
    from wispd.model.invocation import Invocation

NO_HEAD: Final = Head(b"-", b"-", 1, [])  # stands in where there is no request to answer
_OK: Final = status_line(200)
_ONE_WRITE_MAX: Final = 65_536  # above it a body is not copied behind its head

# How the end of the answer under way is marked.
_NONE: Final = 0
_CHUNKED: Final = 1
_RAW: Final = 2  # by the end of the connection: HTTP/1.0


class Answering(asyncio.Protocol):
    """The `Sink`, and the answering part of the `Exchange`, of whichever request is present."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._application = server.application
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made, before all else
        self.request: Head = NO_HEAD
        self.invocation: Invocation | None = None
        self.state: Any = None
        self.phase = Phase.IDLE
        self.served = 0
        self._body: BodyReader | None = None  # what still has to come of the request's body
        self._reserved = 0  # bytes of it that count against the application's budget
        self._streaming = False  # a part of the answer is out
        self._framing = _NONE
        self._last = False  # close after this answer
        self._sent = 0  # bytes of streamed answers

    def head(self, invocation: Invocation, status: int, block: bytes, body: bytes, more: bool) -> None:
        """Answer for an invocation, as `Sink.head`."""
        if invocation is not self.invocation:
            return
        if status == 101:
            self._switch(invocation, block, body)
        else:
            self._send(status, self._application.decorate(invocation) + block, body, more)

    def chunk(self, invocation: Invocation, body: bytes | memoryview, more: bool) -> None:
        """Go on with an invocation's answer, as `Sink.chunk`."""
        if invocation is not self.invocation:
            return
        framed = chunk(body, more) if self._framing == _CHUNKED else body if self._framing == _RAW else b""
        if framed:
            self._sent += len(framed)
            self._transport.write(framed)
        if not more:
            self._finish()

    def fault(self, invocation: Invocation, fault: Fault) -> None:
        """Answer for an invocation that failed, as `Sink.fault`."""
        if invocation is self.invocation:
            self.refuse(fault)

    def answer(self, status: int, block: bytes, body: bytes) -> None:
        """Answer as a whole, as `Exchange.answer`."""
        if self.phase is Phase.BUSY:
            self._send(status, block, body, False)

    def refuse(self, fault: Fault) -> None:
        """Answer with a problem, as `Exchange.refuse`."""
        if self.phase >= Phase.LINGER:
            return
        self._server.refused += 1
        if self._streaming:
            self._break_off()
        else:
            status, block, body = self._application.problem(fault, self.invocation)
            self._send(status, block, body, False)

    def _send(self, status: int, block: bytes, body: bytes, more: bool) -> None:
        request = self.request
        keep = request.keep_alive and not self._last and not self._server.draining
        plain = status == 200 and not more and self._body is None and len(body) <= _ONE_WRITE_MAX
        if keep and plain and request.minor and request.method != b"HEAD":
            length = b"Content-Length: %d\r\n" % len(body)
            self._transport.write(b"".join((_OK, block, length, self._server.date, body)))
            self._finish()
        else:
            self._send_rare(status, block, body, more=more, keep=keep)

    def _send_rare(self, status: int, block: bytes, body: bytes, *, more: bool, keep: bool) -> None:
        """Everything but the common case."""
        request = self.request
        framing, self._framing = b"", _NONE
        if bodiless(status):
            body = b""
        elif not more:
            framing = b"Content-Length: %d\r\n" % len(body)
        elif request.minor:
            framing, self._framing = b"Transfer-Encoding: chunked\r\n", _CHUNKED
            body = chunk(body, True)
        else:
            keep, self._framing = False, _RAW
        if request.method == b"HEAD":
            body, self._framing = b"", _NONE
        if not keep or (self._body is not None and not more):
            self._last = True
            framing += b"Connection: close\r\n"
        elif not request.minor:
            framing += b"Connection: keep-alive\r\n"
        self._streaming = more
        self._sent += len(body)
        start = b"".join((status_line(status), block, framing, self._server.date))
        if len(body) > _ONE_WRITE_MAX:
            self._transport.write(start)
            self._transport.write(body)
        else:
            self._transport.write(start + body)
        if not more:
            self._finish()

    def _break_off(self) -> None:
        """End an answer so that the client sees that it is not complete."""
        raw = self._framing == _RAW
        self._let_go()
        self.phase = Phase.CLOSING
        if raw:
            self._transport.abort()
        else:
            self._transport.close()  # without the last chunk

    def _finish(self) -> None:
        """The answer is complete."""
        self.served += 1
        self._let_go()
        if self._last or self._body is not None:
            self._end()
        else:
            self.phase = Phase.IDLE
            self._again()

    def _let_go(self) -> None:
        """Forget the request; what its invocation still sends is ignored from here on."""
        self.invocation = None
        self.state = None
        self._streaming = False
        if self._reserved:
            self._application.reserve(-self._reserved)
            self._reserved = 0

    def _switch(self, invocation: Invocation, block: bytes, body: bytes) -> None:
        """The application accepted a WebSocket."""
        raise NotImplementedError

    def _again(self) -> None:
        """Go on with what is already here of the next request."""
        raise NotImplementedError

    def _end(self) -> None:
        """Close the connection so that the answer arrives."""
        raise NotImplementedError
