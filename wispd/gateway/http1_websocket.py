"""One WebSocket, from the accepted handshake to its end: RFC 6455 towards the client, messages towards the instance.

wsproto reads and writes the frames, so that what reaches a function are whole parts of valid messages and nothing
else. Both directions take a bounded number of frames in one turn of the loop, and stop while the other side is slow.
"""

from __future__ import annotations

import asyncio
import codecs
from typing import TYPE_CHECKING, Any, Final

from wsproto.connection import Connection as Protocol
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage

from wisp.runtime.frames import FrameError
from wisp.runtime.messages import BINARY, CLOSE, TEXT, Part, PartReader, pack_close, pack_part, parse_close
from wispd.base.errors import Fault
from wispd.gateway.http1_deadlines import Beat, Keepalive, Phase, Progress

if TYPE_CHECKING:
    from wispd.gateway.http1 import HttpServer
    from wispd.model.invocation import Invocation

PER_TURN: Final = 64  # frames of either direction before others get their turn
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
TOO_BIG: Final = 1009
INTERNAL: Final = 1011
_NS: Final = 1_000_000_000
_AWAY: Final = frozenset({"timeout", "draining", "unavailable"})  # faults after which a client may come back


class WebSocket(asyncio.Protocol):
    """A connection after it switched, and the sink of its invocation."""

    def __init__(self, server: HttpServer, transport: asyncio.Transport, invocation: Invocation, peer: bytes) -> None:
        self._server = server
        self._application = server.application
        self._transport = transport
        self.invocation: Invocation | None = invocation
        self.peer = peer
        self.state: Any = None
        self.phase = Phase.BUSY
        self.served = 1
        self._protocol = Protocol(ConnectionType.SERVER)
        self._size = 0  # of the message that is being received
        self._frames = 0  # received since the last sweep
        self._reader = PartReader()
        self._text: Any = None  # decodes the text message that is being sent
        self._ended = False  # the instance has sent its last
        self._turning = False
        self._speaking = False
        self._hushed = False  # the instance takes no more for now
        self._behind = False  # received frames wait for their turn
        self._spoken_behind = False  # frames to send wait for theirs
        self._clogged = False  # the client reads slowly
        self._paused = False  # the instance was told to wait
        self._reading = True
        self._keepalive = Keepalive()
        self._download = Progress()
        self._written = 0
        self._since_ns = 0

    def begin(self, early: bytes, body: bytes, *, clogged: bool) -> None:
        """Go on with what came before the switch."""
        self._clogged = clogged
        if body and self.invocation is not None:
            self.chunk(self.invocation, body, True)
        if self._server.draining:
            self.retire()
        elif early:
            self.data_received(early)

    # ── asyncio.Protocol ────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self._keepalive.heard()
        if self.phase < Phase.LINGER or self._protocol.state is ConnectionState.LOCAL_CLOSING:
            self._protocol.receive_data(data)
            self._listen()

    def eof_received(self) -> None:
        """The client left without a word."""
        self._abandon()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._abandon()
        self.phase = Phase.CLOSING
        self._server.left(self)

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._clogged = True
        self._balance()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._clogged = False
        self._balance()
        self._listen()

    # ── from the client ─────────────────────────────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        """Take the frames that are here: at most PER_TURN, and none while the instance or the client is slow."""
        if self._turning:
            return
        self._turning = True
        self._behind = False
        taken = 0
        if not self._waits():
            for event in self._protocol.events():
                self._take(event)
                taken += 1
                if self.phase >= Phase.CLOSING or self._waits():
                    break
                if taken == PER_TURN:
                    self._behind = True
                    self._server.loop.call_soon(self._listen)
                    break
        self._turning = False
        self._frames += taken
        self._balance()

    def _waits(self) -> bool:
        if self.phase >= Phase.LINGER:  # for the client's close
            return False
        return self._hushed or self._clogged or self._frames > self._server.limits.frames_per_sweep

    def _take(self, event: Event) -> None:
        if isinstance(event, Message):
            self._message(event)
        elif isinstance(event, Ping):
            if self._protocol.state is ConnectionState.OPEN:
                self._write(event.response())
        elif isinstance(event, CloseConnection):
            self._closed_by_client(event)

    def _message(self, event: Message[Any]) -> None:
        if self.phase >= Phase.LINGER or self.invocation is None:
            return
        kind, body = (TEXT, event.data.encode()) if isinstance(event, TextMessage) else (BINARY, bytes(event.data))
        self._size += len(body)
        limit = self._server.limits.message_bytes
        if self._size > limit:
            self._close(TOO_BIG, f"message above {limit} bytes", heed=False)
            return
        last = event.message_finished
        if last:
            self._size = 0
            self._keepalive.active()
        if body or last:
            self._hushed = not self._application.arrived(self, pack_part(kind, body, last=last), True)

    def _closed_by_client(self, event: CloseConnection) -> None:
        state = self._protocol.state
        if state is ConnectionState.CLOSED:  # the answer to ours
            self._hang_up()
        elif state is ConnectionState.REMOTE_CLOSING:
            self._write(event.response())
            self._tell(int(event.code), event.reason or "")
            self._hang_up()
        else:  # wsproto's word for frames that are wrong
            self._close(int(event.code), event.reason or "", heed=False)

    def want_body(self, invocation: Invocation) -> None:
        """The instance takes more, as `Sink.want_body`."""
        if invocation is self.invocation and self._hushed:
            self._hushed = False
            self._listen()

    # ── from the instance ───────────────────────────────────────────────────────────────────────────────────

    def head(self, invocation: Invocation, status: int, block: bytes, body: bytes, more: bool) -> None:
        """An answer has one head, and it has been."""

    def chunk(self, invocation: Invocation, body: bytes | memoryview, more: bool) -> None:
        """Send what the application says, as `Sink.chunk`."""
        if invocation is not self.invocation:
            return
        self._reader.feed(body)
        self._ended = not more
        self._speak()

    def fault(self, invocation: Invocation, fault: Fault) -> None:
        """The invocation failed, as `Sink.fault`."""
        if invocation is self.invocation:
            self.invocation = None
            self._close(GOING_AWAY if fault.code in _AWAY else INTERNAL, fault.code)

    def _speak(self) -> None:
        """Send at most PER_TURN frames; the rest in the next turn."""
        if self._speaking or self.phase >= Phase.LINGER:
            return
        self._speaking = True
        self._spoken_behind = False
        try:
            for _ in range(PER_TURN):
                part = self._reader.take()
                if part is None:
                    break
                self._say(part)
            else:
                self._spoken_behind = True
                self._server.loop.call_soon(self._speak)
            if self._ended and not self._spoken_behind and self.phase < Phase.LINGER:
                if not self._reader.whole:
                    raise FrameError("the messages end inside of one")
                self.invocation = None
                self._close(NORMAL, "")
        except (FrameError, UnicodeDecodeError) as error:
            self._hostile(str(error))
        finally:
            self._speaking = False
        self._balance()

    def _say(self, part: Part) -> None:
        if part.kind == CLOSE:
            self._close(*parse_close(part.body))
            return
        if part.last:
            self._keepalive.active()
        if part.kind == BINARY:
            self._write(BytesMessage(data=part.body, message_finished=part.last))
            return
        if self._text is None:
            self._text = codecs.getincrementaldecoder("utf-8")()
        text = self._text.decode(part.body, part.last)
        if part.last:
            self._text = None
        if text or part.last:
            self._write(TextMessage(data=text, message_finished=part.last))

    def _hostile(self, reason: str) -> None:
        """The instance said what no runtime of ours says: it is ended, and with it its invocations."""
        if self.invocation is not None:
            self._application.hostile(self, reason)
        self._close(INTERNAL, "invalid_answer")

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    def _close(self, code: int, reason: str, *, heed: bool = True) -> None:
        """Close from this side; `heed`: the client's answer is awaited, else all it still sends is dropped."""
        if self.phase >= Phase.LINGER:
            return
        if self._protocol.state is ConnectionState.OPEN:
            self._write(CloseConnection(code=code, reason=reason))
        self._tell(code, reason)
        self.phase = Phase.LINGER
        self._since_ns = 0
        if not heed and self._transport.can_write_eof():
            self._transport.write_eof()  # so that the client reads why before the connection is reset

    def _tell(self, code: int, reason: str) -> None:
        """Tell the application that this is the end, and give it its timeout to see to it."""
        invocation = self.invocation
        if invocation is None:
            return
        if self._paused:
            self._application.resumed(self)  # what it still sends is dropped here
        self._application.arrived(self, pack_close(code, reason), False)
        self._application.ending(invocation)
        self.invocation = None

    def _hang_up(self) -> None:
        self.phase = Phase.CLOSING
        self._transport.close()

    def _abandon(self) -> None:
        """The client is gone without a close."""
        if self.invocation is not None:
            self._application.gone(self)
            self.invocation = None
        if self.phase < Phase.LINGER:
            self.phase = Phase.CLOSING

    def retire(self) -> None:
        """The node goes away."""
        self._close(GOING_AWAY, "the node is shutting down")

    def drop(self) -> None:
        """Close now."""
        self._transport.abort()

    # ── pressure and time ───────────────────────────────────────────────────────────────────────────────────

    def _write(self, event: Event) -> None:
        frame = self._protocol.send(event)
        self._written += len(frame)
        self._transport.write(bytes(frame))

    def _balance(self) -> None:
        """Let the client wait for the instance, and the instance for the client."""
        if self.phase < Phase.LINGER:
            reading = not (self._behind or self._waits())
            if reading is not self._reading:
                self._reading = reading
                (self._transport.resume_reading if reading else self._transport.pause_reading)()
        elif not self._reading and self.phase is Phase.LINGER:
            self._reading = True
            self._transport.resume_reading()  # the client's close has to be seen
        paused = self._clogged or self._spoken_behind
        if paused is not self._paused and self.invocation is not None:
            self._paused = paused
            (self._application.paused if paused else self._application.resumed)(self)

    def sweep(self, now_ns: int) -> None:
        """Ping, close what is idle, end what is stuck; called twice a second."""
        limits = self._server.limits
        unread = self._transport.get_write_buffer_size()
        if not unread:
            self._download.stop()
        elif self._download.late(
            now_ns, self._written - unread, grace_s=limits.write_grace_s, rate_per_s=limits.write_rate_per_s
        ):
            self._expire()
            return
        if self.phase >= Phase.LINGER:
            self._since_ns = self._since_ns or now_ns
            if now_ns - self._since_ns > limits.linger_s * _NS and not unread:
                self._expire()
            return
        if self._frames:
            self._frames = 0
            self._listen()
        beat = self._keepalive.beat(now_ns, limits, listening=self._reading)
        if beat is Beat.PING:
            self._write(Ping())
        elif beat is Beat.LOST:
            self._expire()
        elif beat is Beat.IDLE:
            self._server.expired += 1
            self._close(GOING_AWAY, f"no message for {limits.stream_idle_s:g} s")

    def _expire(self) -> None:
        self._server.expired += 1
        self._transport.abort()
