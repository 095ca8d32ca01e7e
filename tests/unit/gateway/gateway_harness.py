"""A gateway core on virtual time: real sockets, a hand-driven loop, an engine whose instances the test plays."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import socket
from collections.abc import Callable
from typing import Any

from wisp.runtime import frames
from wispd.autoscaler.loop import Autoscaler
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault
from wispd.base.ids import id_source
from wispd.gateway.admission import Admission, FixedQuota
from wispd.gateway.dispatcher import Dispatcher
from wispd.model.function import Version
from wispd.model.invocation import Invocation
from wispd.ports.engine import ExitCause, Exited, Started, StartSpec


class HandLoop:
    """The few loop methods the core uses, on virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._readers: dict[int, Callable[[], None]] = {}
        self._writers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def _register(self, fd: int) -> None:
        events = (selectors.EVENT_READ if fd in self._readers else 0) | (
            selectors.EVENT_WRITE if fd in self._writers else 0
        )
        known = fd in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, events)
        else:
            self._selector.register(fd, events)

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self._readers[fd] = callback
        self._register(fd)

    def remove_reader(self, fd: int) -> None:
        if self._readers.pop(fd, None):
            self._register(fd)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self._writers[fd] = callback
        self._register(fd)

    def remove_writer(self, fd: int) -> None:
        if self._writers.pop(fd, None):
            self._register(fd)

    def call_later(self, delay_s: float, callback: Callable[..., None], *args: Any) -> None:
        due = self._clock.monotonic_ns() + int(delay_s * 1e9)
        heapq.heappush(self._timers, (due, next(self._order), callback, args))

    def poll(self) -> None:
        """Run callbacks of ready descriptors until none is ready."""
        while ready := self._selector.select(0):
            for key, events in ready:
                if events & selectors.EVENT_READ and key.fd in self._readers:
                    self._readers[key.fd]()
                if events & selectors.EVENT_WRITE and key.fd in self._writers:
                    self._writers[key.fd]()

    def close(self) -> None:
        self._selector.close()

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self._clock.monotonic_ns() + int(seconds * 1e9)
        self.poll()
        while self._timers and self._timers[0][0] <= end:
            due, _, callback, args = heapq.heappop(self._timers)
            self._clock.advance(max(0, due - self._clock.monotonic_ns()) / 1e9)
            callback(*args)
            self.poll()
        self._clock.advance(max(0, end - self._clock.monotonic_ns()) / 1e9)


class Player:
    """The instance's side of one link, played by the test."""

    def __init__(self, number: int, spec: StartSpec) -> None:
        self.number = number
        self.spec = spec
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs.setblocking(False)
        self.log_read, self.log_write = os.pipe()
        self.started = Started(
            instance=number,
            link_fd=ours.detach(),
            steal_fd=os.dup(self._theirs.fileno()),
            log_fd=self.log_read,
            schedstat_fd=-1,
            code_path="/app",
            layer_path="",
            pooled=True,
        )
        self.open = True

    def read(self) -> frames.Frame | None:
        """Take one frame, None if there is none."""
        try:
            packet = self._theirs.recv(frames.PACKET_MAX)
        except BlockingIOError:
            return None
        return frames.parse(packet) if packet else None

    def read_invoke(self) -> frames.Frame | None:
        """Take frames up to the next INVOKE."""
        while (frame := self.read()) is not None:
            if frame.type == frames.INVOKE:
                return frame
        return None

    def send(self, packet: bytes) -> None:
        self._theirs.send(packet)

    def ready(self, dialect: int = 1, body: bytes = b"") -> None:
        self.send(frames.pack(frames.HELLO, 3, meta=frames.VERSION))
        head = frames.READY_HEAD.pack(1000, 8 << 20)
        self.send(frames.pack(frames.READY, meta=dialect, head=head, body=body))

    def answer(
        self, call: int, *, status: int = 200, body: bytes = b"hi", flags: int = 0, block: bytes = b""
    ) -> None:
        head = frames.OUTCOME_HEAD.pack(0, 9 << 20, len(block), 0, 0) + block
        self.send(frames.pack(frames.OUTCOME, call, flags=flags, meta=status, head=head, body=body))

    def die(self) -> None:
        """Close the instance's side, as a dead process does."""
        if self.open:
            self.open = False
            self._theirs.close()
            os.close(self.log_write)


class FakeEngine:
    """Keeps starts until the test grants them (or grants at once)."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, StartSpec]] = []
        self.players: dict[int, Player] = {}
        self.stopped: list[int] = []
        self.samples = 0
        self.kept: list[tuple[str, dict[str, Any]]] = []
        self.events: Any = None
        self._numbers = itertools.count(1)

    def start(self, ticket: int, spec: StartSpec) -> None:
        self.asked.append((ticket, spec))

    def grant(self) -> Player:
        """Start the instance asked for first."""
        ticket, spec = self.asked.pop(0)
        player = Player(next(self._numbers), spec)
        self.players[player.number] = player
        self.events.started(ticket, player.started)
        return player

    def refuse(self, fault: Fault) -> None:
        ticket, _ = self.asked.pop(0)
        self.events.refused(ticket, fault)

    def stop(self, instance: int) -> None:
        self.stopped.append(instance)

    def bury(self, instance: int, cause: ExitCause = ExitCause.STOPPED, status: int = 0) -> None:
        """The process of an instance is gone."""
        self.players.pop(instance).die()
        self.events.exited(Exited(instance=instance, cause=cause, status=status, cpu_ns=0, peak_bytes=0))

    def sample(self) -> None:
        self.samples += 1

    def keep(self, runtime: str, **kind: Any) -> None:
        self.kept.append((runtime, kind))


class Ear:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.heads: list[tuple[int, bytes, bytes, bool]] = []
        self.chunks: list[tuple[bytes, bool]] = []
        self.faults: list[Fault] = []
        self.wanted = 0

    def head(self, invocation: Invocation, status: int, block: bytes, body: bytes, more: bool) -> None:
        self.heads.append((status, block, body, more))

    def chunk(self, invocation: Invocation, body: bytes, more: bool) -> None:
        self.chunks.append((bytes(body), more))

    def fault(self, invocation: Invocation, fault: Fault) -> None:
        self.faults.append(fault)

    def want_body(self, invocation: Invocation) -> None:
        self.wanted += 1

    @property
    def code(self) -> str:
        """The code of the only fault."""
        assert len(self.faults) == 1, self.faults
        return self.faults[0].code


class Watcher:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.done: list[Invocation] = []
        self.refusals: list[str] = []
        self.colds = 0
        self.logs: list[bytes] = []

    def finished(self, invocation: Invocation) -> None:
        self.done.append(invocation)

    def refused(self, namespace: str, function: str, code: str) -> None:
        self.refusals.append(code)

    def cold_started(self, version: Version, start_ns: int, init_ns: int, pooled: bool) -> None:
        self.colds += 1

    def instance_log(self, version: Version, instance: int, text: bytes) -> None:
        self.logs.append(text)

    def invocation_log(self, invocation_id: bytes, version: Version, text: bytes) -> None:
        self.logs.append(text)


def version(**settings: Any) -> Version:
    """A version with defaults."""
    given: dict[str, Any] = {
        "id": "ver_1",
        "namespace": "default",
        "function": "hello",
        "number": 1,
        "code": "0" * 64,
        "handler": "main:handle",
    }
    return Version(**{**given, **settings})


class Core:
    """Dispatcher, autoscaler, fake engine and observer, wired."""

    def __init__(self, *, limit: int = 1000, budget_bytes: int = 1 << 30) -> None:
        self.clock = VirtualClock()
        self.clock.advance(1000)
        self.loop = HandLoop(self.clock)
        self.engine = FakeEngine()
        self.observer = Watcher()
        self.admission = Admission(FixedQuota(limit))
        pools: list[Dispatcher] = []
        self.scaler = Autoscaler(
            self.loop,  # type: ignore[arg-type]
            self.clock,
            engine=self.engine,
            budget_bytes=budget_bytes,
            pools=lambda: iter(pools[0]),
        )
        self.engine.events = self.scaler
        self.dispatcher = Dispatcher(
            self.loop,  # type: ignore[arg-type]
            self.clock,
            observer=self.observer,
            admission=self.admission,
            scaler=self.scaler,
        )
        pools.append(self.dispatcher)
        self._ids = id_source(self.clock)
        self._numbers = itertools.count(1)

    def call(self, target: Version, body: bytes = b"", *, done: bool = True) -> tuple[Invocation, Ear]:
        """Submit one invocation."""
        ear = Ear()
        now = self.clock.monotonic_ns()
        number = next(self._numbers)
        id_ = self._ids()
        deadline = now + int(target.timeout_s * 1e9)
        head = frames.INVOKE_HEAD.pack(deadline, 0, id_, 0, 0) + b"GET / 127.0.0.1\r\n"
        first, rest = body[: frames.BODY_MAX], body[frames.BODY_MAX :]
        more = bool(rest) or not done
        packet = frames.pack(frames.INVOKE, number, flags=frames.MORE if more else 0, head=head, body=first)
        invocation = Invocation(
            number, id_, target, ear, received_ns=now, received_us=0, deadline_ns=deadline, frame=packet
        )
        if rest:
            invocation.rest = frames.pack_body(number, rest, more=not done)
        invocation.body_done = done
        self.dispatcher.submit(invocation)
        return invocation, ear

    def warm(self, target: Version, *, run_s: float = 0.0001) -> Player:
        """Bring one instance up by a first call of `run_s`."""
        _, ear = self.call(target)
        player = self.engine.grant()
        player.ready()
        frame = player.read_invoke()
        assert frame is not None
        self.loop.poll()
        self.clock.advance(run_s)
        player.answer(frame.call)
        self.loop.poll()
        assert ear.heads
        return player

    def close(self) -> None:
        """Bury everybody."""
        for number in list(self.engine.players):
            self.engine.bury(number)
        self.loop.close()
