"""Channel: the gateway's side of one instance. Frames out, answers in, and who waits for what.

It decides nothing about where events go (the pool does) and nothing about processes (the engine does). A wrong frame
ends the instance, never the gateway.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from wisp.runtime import frames
from wisp.runtime.frames import FrameError
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.gateway.abandoned import Abandoned
from wispd.gateway.answers import clean_block, is_event_stream, parse_outcome
from wispd.gateway.billing import BusyShare, RunDelay
from wispd.gateway.channel_owner import ChannelOwner
from wispd.gateway.link import FrameLink, SeqpacketLink
from wispd.gateway.logpipe import LogPipe
from wispd.gateway.opening import read_ready
from wispd.gateway.secrets import Mask, Opened, unmasked
from wispd.gateway.upload import Uploads
from wispd.model.invocation import Invocation, Status
from wispd.ports.engine import Started

_HEADER_SIZE: Final = frames.HEADER.size
_unpack = frames.HEADER.unpack_from
_OUTCOME: Final = frames.OUTCOME
_BODY: Final = frames.BODY
_MORE: Final = frames.MORE
_ERROR: Final = frames.ERROR


class Channel:
    """One instance's link, its events in flight and its clocks."""

    __slots__ = (
        "_clock",
        "_cpu_ns",
        "_held",
        "_looked",
        "_owner",
        "_pipe",
        "_share",
        "abandoned",
        "bytes",
        "calls_made",
        "delay",
        "hot",
        "idle_since_ns",
        "inflight",
        "init_ns",
        "instance",
        "last_answer_ns",
        "link",
        "mask",
        "memory_bytes",
        "multiplexed",
        "overdue",
        "pooled",
        "ready",
        "ready_ns",
        "sandbox_ns",
        "started_ns",
        "stopping",
        "stuck",
        "trial",
        "uploads",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        owner: ChannelOwner,
        started: Started,
        *,
        concurrency: int,
    ) -> None:
        self._clock = clock
        self._owner = owner
        self.instance = started.instance
        self.multiplexed = concurrency > 1
        self.inflight: dict[int, Any] = {}  # call number → Invocation, in the order sent
        self.abandoned = Abandoned()  # multiplexed only
        self.stuck = False  # calls that nobody waits for do not end: it gets no further event
        self._held: dict[int, int] = {}  # paused answers → body bytes they are owed
        self.ready = False
        self.stopping = False
        self.overdue = False  # its head runs longer than expected: no event queues behind it
        self.hot = False  # above the CPU target (concurrency above 1)
        self.calls_made = False
        self.trial: Any = None
        self.mask: Mask = unmasked  # secrets in what it prints
        self.pooled = started.pooled
        self.bytes = 0
        self.memory_bytes = 0
        self.sandbox_ns = 0
        self.init_ns = 0
        self.started_ns = clock.monotonic_ns()
        self.ready_ns = 0
        self.last_answer_ns = 0
        self.idle_since_ns = self.started_ns
        self._cpu_ns = 0
        self._looked = (self.started_ns, 0)
        self.delay = RunDelay(started.schedstat_fd)
        self._share = BusyShare() if self.multiplexed else None
        self.link: FrameLink = SeqpacketLink(loop, started.link_fd, started.steal_fd, self)
        self.uploads = Uploads(self.link, multiplexed=self.multiplexed)
        self._pipe = LogPipe(loop, started.log_fd, lambda text: owner.logged(self, None, self.mask(text)))

    @property
    def open_to_queue(self) -> bool:
        """May an event queue behind those it has?"""
        return self.ready and not (self.overdue or self.stopping or self.calls_made or self.uploads)

    def begin(self, settings: bytes, opened: Opened) -> None:
        """Open the conversation: HELLO and INIT, whose answer comes as `became_ready` or `init_failed`."""
        features = frames.FEATURE_STREAMING | frames.FEATURE_CALLS
        self.link.send(frames.pack(frames.HELLO, features, meta=frames.VERSION))
        self.mask = opened.mask
        self.link.send(frames.pack(frames.INIT, head=settings, body=opened.body))

    def send(self, invocation: Invocation) -> None:
        """Put one event on its way."""
        now = self._clock.monotonic_ns()
        invocation.sent_ns = now
        invocation.instance = self
        invocation.status = Status.RUNNING
        if not self.ready:
            invocation.cold = True
        if self._share is not None:
            self._share.joined(invocation.number, now, len(self.inflight))
        elif not self.inflight and self._owner.measured:
            self.delay.mark()
        self.inflight[invocation.number] = invocation
        self.link.send(invocation.frame)
        if invocation.rest is not None or not invocation.body_done:
            self.uploads.begin(invocation)

    def feed(self, invocation: Invocation, chunk: bytes, more: bool) -> bool:
        """Pass on a part of a streamed request body; False: wait for `Sink.want_body`."""
        return self.uploads.feed(invocation, chunk, more)

    def drained(self) -> None:
        """The socket takes frames again: continue what stopped."""
        self.uploads.drained()

    def cancel(self, invocation: Invocation, reason: int) -> None:
        """Tell a multiplexed instance that nobody waits; its late frames for this call are dropped."""
        self.abandoned.add(invocation.number, self._clock.monotonic_ns(), invocation.deadline_ns)
        self.link.send(frames.pack(frames.CANCEL, invocation.number, meta=reason))

    def pause(self, invocation: Invocation) -> None:
        """The client reads slowly: let the instance wait. Not for a call that is over: nobody would resume it."""
        if invocation.number not in self.inflight:
            return
        if self.multiplexed:
            self._held.setdefault(invocation.number, 0)
        else:
            self.link.pause()

    def resume(self, invocation: Invocation) -> None:
        """The client reads again."""
        if self.multiplexed:
            self._grant(invocation.number, self._held.pop(invocation.number, 0))
        else:
            self.link.resume()

    def _grant(self, number: int, size: int) -> None:
        """Let the instance send `size` more body bytes of a call (multiplexed links only)."""
        if number in self._held:
            self._held[number] += size
        elif self.multiplexed and size:
            self.link.send(frames.pack(frames.WINDOW, number, head=frames.WINDOW_HEAD.pack(size)))

    def measure(self, seconds: float, target: float) -> None:
        """Is a multiplexed instance above its CPU target? Looked at between two sweeps, by its main thread."""
        if self.multiplexed:
            cpu_ns = self.delay.cpu_ns()
            self.hot = cpu_ns - self._cpu_ns > target * seconds * 1e9
            self._cpu_ns = cpu_ns

    def starvation(self, now_ns: int) -> tuple[int, int]:
        """Return how long ago this was last asked, and how much of that the instance waited for a CPU."""
        at_ns, waited_ns = self._looked
        self._looked = (now_ns, self.delay.total_ns())
        return now_ns - at_ns, self._looked[1] - waited_ns

    def close(self) -> None:
        """Give all descriptors back. Idempotent."""
        self.link.close()
        self.uploads.close()
        self.delay.close()
        self._pipe.close()

    # ── frames from the instance ────────────────────────────────────────────────────────────────────────────

    def packet(self, packet: bytes) -> None:
        """Take one packet. All of it is hostile."""
        try:
            if len(packet) < _HEADER_SIZE:
                raise FrameError(f"frame of {len(packet)} bytes")
            type_, flags, meta, head_len, call, body_len = _unpack(packet)
            if _HEADER_SIZE + head_len + body_len != len(packet) or body_len > frames.BODY_MAX:
                raise FrameError(f"frame of {len(packet)} bytes says head {head_len} and body {body_len}")
            if type_ == _OUTCOME:
                self._outcome(packet, flags, meta, head_len, call)
            elif type_ == _BODY:
                self._body(call, flags, memoryview(packet)[_HEADER_SIZE + head_len :])
            else:
                self._rare(frames.parse(packet))
        except FrameError as error:
            self._owner.hostile(self, str(error))

    def _outcome(self, packet: bytes, flags: int, status: int, head_len: int, call: int) -> None:
        invocation = self.inflight.get(call)
        if invocation is None:
            self._stray(call, flags)
            return
        in_turn = self.multiplexed or call == next(iter(self.inflight))
        if not self.ready or invocation.started_answer or not in_turn:
            raise FrameError(f"answer to call {call} out of turn")
        answer = parse_outcome(packet, head_len)
        invocation.peak_bytes = answer.peak_bytes
        invocation.said_ns = answer.run_ns
        if answer.log:
            invocation.log, invocation.log_dropped = self.mask(answer.log), answer.log_dropped
        if flags & _ERROR:
            message = self.mask(answer.block)[: frames.MESSAGE_MAX].decode("utf-8", "replace")
            invocation.trace = self.mask(answer.body)
            invocation.error = Fault("function_error", message)
            self._settle(invocation, Status.ERROR)
            invocation.sink.fault(invocation, invocation.error)
        else:
            if not 200 <= status <= 599 and not (status == 101 and invocation.websocket and flags & _MORE):
                raise FrameError(f"answer with HTTP status {status}")
            block = clean_block(answer.block)
            more = bool(flags & _MORE)
            invocation.http_status = status
            invocation.bytes_out = len(answer.body)
            invocation.started_answer = True
            if not more:
                self._settle(invocation, Status.OK)
            invocation.sink.head(invocation, status, block, answer.body, more)
            if more:
                if is_event_stream(block):
                    invocation.keep_open(self._clock.monotonic_ns())
                self._grant(call, len(answer.body))
                return
        self._owner.finished(self, invocation)

    def _body(self, call: int, flags: int, body: memoryview) -> None:
        invocation = self.inflight.get(call)
        if invocation is None:
            self._stray(call, flags)
            return
        if not invocation.started_answer:
            raise FrameError(f"body of call {call} before its outcome")
        if flags & _ERROR:
            invocation.trace = self.mask(bytes(body))
            invocation.error = Fault("function_error", "the function failed while it was streaming its answer")
            self._settle(invocation, Status.ERROR)
            invocation.sink.fault(invocation, invocation.error)
            self._owner.finished(self, invocation)
            return
        more = bool(flags & _MORE)
        if invocation.endless:
            invocation.keep_open(self._clock.monotonic_ns())
        invocation.bytes_out += len(body)
        if not more:
            self._settle(invocation, Status.OK)
        invocation.sink.chunk(invocation, body, more)
        if more:
            self._grant(call, len(body))
        else:
            self._owner.finished(self, invocation)

    def _stray(self, call: int, flags: int) -> None:
        """An answer to a call that nobody waits for: expected once for each abandoned call."""
        if call not in self.abandoned:
            raise FrameError(f"answer to call {call}, which it was not given")
        if not flags & _MORE:
            self.abandoned.ended(call)
            self._owner.freed(self)

    def _rare(self, frame: frames.Frame) -> None:
        type_ = frame.type
        if type_ == frames.HELLO:
            if frame.meta != frames.VERSION:
                raise FrameError(f"wire version {frame.meta}, this gateway speaks {frames.VERSION}")
        elif type_ == frames.READY and not self.ready:
            self._ready(frame)
        elif type_ == frames.FAILED and not self.ready:
            self._failed(frame)
        elif type_ == frames.LOG:
            self._owner.logged(self, self.inflight.get(frame.call), self.mask(frame.body))
        elif type_ == frames.CALL and self.ready and self.inflight:
            self.calls_made = True
            self._owner.called(self, frame)
        elif type_ == frames.WINDOW and self.multiplexed and len(frame.head) == frames.WINDOW_HEAD.size:
            self.uploads.window(frame)
        elif not frame.flags & frames.OPTIONAL:
            raise FrameError(f"frame of type {type_} where it has no place")

    def _ready(self, frame: frames.Frame) -> None:
        ready = read_ready(frame, describe=self.trial is not None)
        now = self._clock.monotonic_ns()
        self.ready = True
        self.ready_ns = self.last_answer_ns = now
        self.init_ns = now - self.started_ns
        self.bytes = ready.resident_bytes
        for invocation in self.inflight.values():
            invocation.init_ns = self.init_ns
        self.delay.mark()
        self._owner.became_ready(self, ready)

    def _failed(self, frame: frames.Frame) -> None:
        message = self.mask(frame.head)[: frames.MESSAGE_MAX].decode("utf-8", "replace")
        trace = self.mask(frame.body)
        fault = Fault("init_failed", message, failure=frame.meta)
        for invocation in self.inflight.values():
            invocation.trace = trace
        self._owner.logged(self, None, trace)
        self._owner.init_failed(self, fault)

    # ── endings ─────────────────────────────────────────────────────────────────────────────────────────────

    def _settle(self, invocation: Invocation, status: Status) -> None:
        """Stop the clocks of an invocation that has its last frame."""
        now = self._clock.monotonic_ns()
        start = invocation.sent_ns if invocation.sent_ns > self.last_answer_ns else self.last_answer_ns
        if self._share is not None:
            invocation.run_ns = now - max(invocation.sent_ns, self.ready_ns)
            self._leave(invocation)
            invocation.billed_ns = self._share.left(invocation.number, now, len(self.inflight) + 1)
        else:
            invocation.run_ns = now - start
            invocation.billed_ns = max(1, invocation.run_ns - self.delay.waited(invocation.run_ns))
            self._leave(invocation)
        self.last_answer_ns = now
        invocation.finished_ns = now
        invocation.status = status
        self.overdue = False

    def give_up(self, invocation: Invocation, status: Status) -> None:
        """End an invocation whose last frame never came (deadline, disconnect, loss)."""
        if invocation.number in self.inflight:
            self._settle(invocation, status)

    def _leave(self, invocation: Invocation) -> None:
        self.inflight.pop(invocation.number, None)
        if not self.multiplexed:
            self.link.resume()
        elif self._held:
            self._held.pop(invocation.number, None)
        if self.uploads:
            self.uploads.drop(invocation.number)
        if not self.inflight:
            self.idle_since_ns = self._clock.monotonic_ns()

    def closed(self) -> None:
        """The instance closed its link."""
        self._owner.link_closed(self)

    def take_back(self) -> list[Invocation]:
        """Return the invocations that the instance has provably not begun, in order; they are no longer its."""
        again: list[Invocation] = []
        for packet in self.link.take_back():
            type_, _, _, _, call, _ = _unpack(packet)
            invocation = self.inflight.get(call)
            if type_ == frames.INVOKE and invocation is not None and not invocation.fed:
                del self.inflight[call]
                self.uploads.drop(call)
                invocation.instance = None
                invocation.status = Status.QUEUED
                again.append(invocation)
            elif type_ not in (frames.INVOKE, frames.BODY) and not self.stopping:
                self.link.send(packet)  # not an event: the instance still needs it
        return again
