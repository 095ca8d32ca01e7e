"""One HTTP/1.1 connection: an asyncio protocol of callbacks only, and the exchange of its present request.

Requests of a connection are answered one after the other: a pipelined one waits unparsed (at most BUFFERED_MAX bytes,
then reading is paused), so one object is exchange and sink of all of them and answers can't change places.
An end of file from the client counts as its leaving: an HTTP client has no reason to close half of a connection.
"""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, cast

from wispd.base.errors import Fault
from wispd.gateway.http1_answer import CONTINUE
from wispd.gateway.http1_answering import NO_HEAD, Answering
from wispd.gateway.http1_body import BodyReader
from wispd.gateway.http1_deadlines import Phase, Progress, Verdict, waiting
from wispd.gateway.http1_handshake import SWITCHING, accept_lines
from wispd.gateway.http1_head import Head
from wispd.gateway.http1_limits import BUFFERED_MAX, PIPELINE_MAX
from wispd.gateway.http1_websocket import WebSocket
from wispd.model.invocation import NEVER_NS

if TYPE_CHECKING:
    from wispd.gateway.http1 import HttpServer
    from wispd.model.invocation import Invocation

_IDLE = Phase.IDLE
_BUSY = Phase.BUSY


class Connection(Answering):
    """One client. Implements `Exchange` (and with it `Sink`) for the application."""

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server)
        self._cached = server.heads.cache.get
        self.peer = b"-"
        self._tail = b""  # received, not parsed
        self._scanned = 0  # of a partial head in `_tail`
        self._turning = False
        self._hushed = False  # the application wants no more body for now
        self._unreadable = False  # reading is paused
        self._clogged = False  # writing is paused
        self._seen = (_IDLE, -1)  # phase and requests served, when the last sweep looked
        self._since_ns = 0  # … for the first time
        self._upload = Progress()
        self._download = Progress()

    # ── asyncio.Protocol ────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; a connection above the limits is told so and closed."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = str(peer[0]).encode()
        if not self._server.joined(self):
            self._last = True
            self.refuse(Fault("no_capacity", "too many connections", retry_after_s=1))

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self.phase is _IDLE and not self._clogged and not self._tail:
            head = self._cached(data)  # exactly one head, seen before: what a busy client sends
            if head is not None:
                self._begin(head)
                return
        if self.phase >= Phase.LINGER:
            return
        if self.phase is _BUSY and self._body is not None and self._body.wanted:
            self._read_body(data)
        else:
            self._tail = self._tail + data if self._tail else data
            self._advance()

    def eof_received(self) -> None:
        """The client left: what runs for it is cancelled, and the transport closes."""
        if self.phase is _BUSY:
            self._abandon()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.phase is _BUSY:
            self._abandon()
        self.phase = Phase.CLOSING
        self._tail = b""
        self._server.left(self)

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._clogged = True
        if self._streaming and self.phase is _BUSY:
            self._application.paused(self)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._clogged = False
        if self._streaming and self.phase is _BUSY:
            self._application.resumed(self)
        elif self.phase < _BUSY and self._tail:
            self._advance()

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self) -> None:
        """Begin the requests that are waiting, a bounded number of them in one turn of the loop."""
        if self._turning:
            return
        self._turning = True
        try:
            for _ in range(PIPELINE_MAX):
                if self.phase >= _BUSY or not self._tail or self._clogged or not self._next():
                    break
            else:
                self._server.loop.call_soon(self._advance)
        except Fault as fault:
            self._fail(fault)
        finally:
            self._turning = False
        self._balance()

    def _next(self) -> bool:
        """Take one head off the tail and begin its request; False if it is not complete."""
        tail = self._tail
        if tail.startswith(b"\r\n"):
            tail = self._tail = tail[2:]  # RFC 9112 §2.2: an empty line before a request is ignored
        end = tail.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0:
            self._server.heads.check_partial(tail, self._scanned)
            self._scanned = len(tail)
            self.phase = Phase.HEAD if tail else _IDLE
            return False
        self._scanned = 0
        self._tail = tail[end + 4 :]
        self._begin(self._server.heads.parse(tail[: end + 4]))
        return True

    def _begin(self, head: Head) -> None:
        self.request = head
        self.phase = _BUSY
        if head.length:
            self._body = BodyReader(head.length, strict=self._server.heads.strict)
        if self._server.draining:
            self.refuse(Fault("draining", "the node is shutting down", retry_after_s=1))
            return
        try:
            self._application.requested(self)
        except Exception:
            traceback.print_exc()
            if self.phase is _BUSY:
                self._last = True
                self.refuse(Fault("internal", "the gateway failed on this request; its log says how"))

    def _fail(self, fault: Fault) -> None:
        """Answer what could not be read as a request, and close."""
        self.request = NO_HEAD
        self._last = True
        self.refuse(fault)

    def _balance(self) -> None:
        """Pause or resume reading."""
        pause = self._hushed or len(self._tail) > BUFFERED_MAX
        if pause is not self._unreadable and self.phase is not Phase.CLOSING:
            self._unreadable = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _again(self) -> None:
        self._hushed = False
        if self._tail:
            self._advance()
        elif self._unreadable:
            self._balance()

    def _end(self) -> None:
        linger = bool(self._tail) or self._body is not None
        self._tail = b""
        self._body = None
        self._hushed = False
        self._balance()
        self.phase = Phase.LINGER if linger else Phase.CLOSING
        if linger and self._transport.can_write_eof():
            # Closing with unread input resets the connection, and the client may lose the answer: RFC 9112 §9.6.
            self._transport.write_eof()
        else:
            self._transport.close()

    def _switch(self, invocation: Invocation, block: bytes, body: bytes) -> None:
        """Speak WebSocket from here on: another protocol takes the transport over."""
        try:
            lines = accept_lines(self.request, block)
        except Fault as fault:
            self._application.hostile(self, fault.message)
            return
        transport = self._transport
        transport.write(b"".join((SWITCHING, self._application.decorate(invocation), lines, self._server.date)))
        socket = WebSocket(self._server, transport, invocation, self.peer)
        early, self._tail = self._tail, b""
        self._balance()
        self._let_go()
        self.phase = Phase.CLOSING
        self._server.switched(self, socket)
        invocation.sink = socket
        invocation.deadline_ns = NEVER_NS
        transport.set_protocol(socket)
        socket.begin(early, body, clogged=self._clogged)

    def _abandon(self) -> None:
        """The client is gone before its answer was complete."""
        self._application.gone(self)
        self._let_go()
        self._body = None
        self.phase = Phase.CLOSING

    # ── the request's body ──────────────────────────────────────────────────────────────────────────────────

    def collect(self, limit_bytes: int) -> None:
        """Receive the whole body, as `Exchange.collect`."""
        body = self._body
        if body is None:
            self._application.collected(self, b"")
        elif body.length > limit_bytes:
            self.refuse(_too_large(body.length, limit_bytes))
        else:
            body.limit = limit_bytes
            self._open(body)

    def stream(self) -> None:
        """Receive the body part by part, as `Exchange.stream`."""
        if self._body is None:
            self._application.arrived(self, b"", False)
        else:
            self._body.streamed = True
            self._open(self._body)

    def want_body(self, invocation: Invocation) -> None:
        """Go on reading a streamed body, as `Sink.want_body`."""
        if invocation is self.invocation and self._hushed:
            self._hushed = False
            self._balance()

    def _open(self, body: BodyReader) -> None:
        body.wanted = True
        self._upload.stop()
        received, self._tail = self._tail, b""
        if received:
            self._read_body(received)
            return
        if self.request.expects:
            self._transport.write(CONTINUE)
        self._balance()

    def _read_body(self, received: bytes) -> None:
        body = cast(BodyReader, self._body)
        try:
            part, self._tail = body.feed(received)
        except Fault as fault:
            self._reject(fault)
            return
        if body.done:
            self._body = None
        if body.streamed:
            if (part or body.done) and not self._application.arrived(self, part, not body.done):
                self._hushed = self._body is body
        else:
            self._keep(body, part)
        self._balance()

    def _keep(self, body: BodyReader, part: bytes) -> None:
        if body.size > body.limit:
            self._reject(_too_large(body.size, body.limit))
        elif part and not self._application.reserve(len(part)):
            self._reject(Fault("no_capacity", "too many request bodies are being received", retry_after_s=1))
        else:
            self._reserved += len(part)
            body.parts.append(part)
            if body.done:
                self._application.collected(self, body.whole())

    def _reject(self, fault: Fault) -> None:
        """Give up on a request because of its body; a streamed one may be running already."""
        self._last = True
        if self.invocation is not None:
            self._application.gone(self)
        self.refuse(fault)

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────

    def sweep(self, now_ns: int) -> None:
        """Close, or answer 408, if the client has had enough time."""
        limits = self._server.limits
        if self._seen != (self.phase, self.served):
            if self._seen[1] != self.served:
                self._download.stop()
            self._seen = (self.phase, self.served)
            self._since_ns = now_ns
        unread = self._transport.get_write_buffer_size()
        if not unread:
            self._download.stop()
        elif self._download.late(
            now_ns, self._sent - unread, grace_s=limits.write_grace_s, rate_per_s=limits.write_rate_per_s
        ):
            self._server.expired += 1
            self._transport.abort()
            return
        if self.phase is _BUSY:
            self._sweep_body(now_ns)
        elif not unread:
            self._sweep_waiting(now_ns)

    def _sweep_body(self, now_ns: int) -> None:
        limits = self._server.limits
        body = self._body
        if body is None or not body.wanted or self._unreadable:
            self._upload.stop()
        elif self._upload.late(now_ns, body.size, grace_s=limits.body_grace_s, rate_per_s=limits.body_rate_per_s):
            self._server.expired += 1
            self._reject(Fault("request_timeout", f"the body came slower than {limits.body_rate_per_s} bytes/s"))

    def _sweep_waiting(self, now_ns: int) -> None:
        limits = self._server.limits
        verdict = waiting(self.phase, self._since_ns, now_ns, limits=limits, fresh=self.served == 0)
        if verdict is Verdict.STAY:
            return
        if self.phase < _BUSY:
            self._server.expired += 1
        if verdict is Verdict.TIMEOUT:
            self._fail(Fault("request_timeout", f"the head did not arrive within {limits.head_s:g} s"))
        elif verdict is Verdict.CLOSE:
            self.phase = Phase.CLOSING
            self._transport.close()
        else:
            self._transport.abort()

    def retire(self) -> None:
        """Close if nothing is under way; else the present answer is the last."""
        if self.phase < _BUSY and not self._tail:
            self.phase = Phase.CLOSING
            self._transport.close()

    def drop(self) -> None:
        """Close now."""
        self._transport.abort()


def _too_large(size: int, limit: int) -> Fault:
    return Fault("payload_too_large", f"body is {size} bytes, limit {limit}", size_bytes=size, limit_bytes=limit)
