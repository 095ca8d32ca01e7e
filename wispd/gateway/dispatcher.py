"""Dispatcher: takes an admitted invocation to an instance of its version and sees that it ends, one way or another.

Everything on the way of a synchronous call is a plain callback: no coroutine, no lock, no call to a store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from wisp.runtime.frames import CANCEL_DISCONNECTED, Frame, pack_body
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.gateway.admission import Admission
from wispd.gateway.channel import Channel
from wispd.gateway.hostcalls import HostCalls
from wispd.gateway.pool import Pool, TrialDone
from wispd.gateway.secrets import NOTHING, Opened, Secrets
from wispd.model.function import MEMORY_START, Version
from wispd.model.invocation import Invocation, Status
from wispd.ports.demand import Scaler
from wispd.ports.observer import Observer
from wispd.ports.spending import Guard, Unguarded

POOL_KEPT_S: Final = 5  # after its last instance ended: the run time estimate goes with it
INIT_S: Final = 30.0
OVERDUE_TICK_S: Final = 0.002  # how often queued-ahead events are looked after, while there are any
DEADLINE_TICK_S: Final = 0.025  # precision of deadlines
_NS: Final = 1_000_000_000


class _Deaf:
    """The sink of an invocation whose client went away."""

    def head(self, invocation: Invocation, status: int, block: bytes, body: bytes, more: bool) -> None: ...

    def chunk(self, invocation: Invocation, body: bytes | memoryview, more: bool) -> None: ...

    def fault(self, invocation: Invocation, fault: Fault) -> None: ...

    def want_body(self, invocation: Invocation) -> None: ...


_deaf = _Deaf()


class Dispatcher:
    """All pools of the gateway and all invocations in flight."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        observer: Observer,
        admission: Admission,
        scaler: Scaler,
        guard: Guard | None = None,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self.observer = observer  # may be replaced by one that tells more, while somebody watches
        self._guard = guard or Unguarded()
        self._admission = admission
        self._scaler = scaler
        self.hostcalls: HostCalls | None = None
        self.secrets: Secrets | None = None
        self.pools: dict[str, Pool] = {}  # by version id
        self.inflight: dict[int, Invocation] = {}
        self._learned: dict[str, int] = {}  # versions whose memory grew → bytes
        self._deep: dict[int, Channel] = {}  # channels with events queued ahead
        self._ticking = False
        self._deadlines = False

    def __iter__(self) -> Iterator[Pool]:
        return iter(list(self.pools.values()))

    # ── in ──────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, invocation: Invocation) -> None:
        """Admit the invocation and give it to its pool. Its sink hears the answer, perhaps before this returns."""
        version = invocation.version
        refusal = self._admission.admit(version.namespace, version.function)
        if refusal is None and self._guard.watched:
            refusal = self._afford(invocation)
        if refusal is not None:
            invocation.status = Status.THROTTLED
            self.observer.refused(version.namespace, version.function, refusal.code)
            invocation.sink.fault(invocation, refusal)
            return
        self.inflight[invocation.number] = invocation
        if not self._deadlines:
            self._deadlines = True
            self._loop.call_later(DEADLINE_TICK_S, self._check_deadlines)
        pool = self.pools.get(version.id)
        if pool is None:
            pool = self.pool(version)
        invocation.pool = pool
        pool.offer(invocation)

    def _afford(self, invocation: Invocation) -> Fault | None:
        """Ask the budgets; what they refuse is not in flight."""
        version = invocation.version
        pool = self.pools.get(version.id)
        memory_bytes = pool.memory_bytes if pool is not None else version.memory_bytes or MEMORY_START
        refusal = self._guard.admit(invocation, memory_bytes)
        if refusal is not None:
            self._admission.release(version.namespace, version.function)
        return refusal

    def pool(self, version: Version) -> Pool:
        """Return the pool of a version, made on first use."""
        pool = self.pools.get(version.id)
        if pool is None:
            pool = Pool(self._loop, self._clock, version, owner=self, scaler=self._scaler)
            pool.memory_bytes = self._learned.get(version.id, pool.memory_bytes)
            self.pools[version.id] = pool
        return pool

    def feed(self, invocation: Invocation, chunk: bytes, more: bool) -> bool:
        """Pass a part of a streamed request body on; False: stop until `Sink.want_body`."""
        channel: Channel | None = invocation.instance
        if channel is not None:
            return channel.feed(invocation, chunk, more)
        return self._keep(invocation, chunk, more)

    @staticmethod
    def _keep(invocation: Invocation, chunk: bytes, more: bool) -> bool:
        """Hold a chunk for an invocation that has no instance yet."""
        if invocation.finished_ns:
            return True
        if invocation.rest is None:
            invocation.rest = []
        invocation.rest.extend(pack_body(invocation.number, chunk, more=more))
        invocation.body_done = not more
        return False

    def cancel(self, invocation: Invocation, reason: int = CANCEL_DISCONNECTED) -> None:
        """Nobody waits for this invocation any more."""
        if invocation.number not in self.inflight or invocation.cancelled:
            return
        invocation.cancelled = True
        invocation.sink = _deaf
        if invocation.pool.cancel(invocation, reason):
            self._close(invocation, Status.CANCELLED)

    def hostile(self, invocation: Invocation, reason: str) -> None:
        """The content of an answer is what no correct instance sends: it is ended."""
        if invocation.instance is not None:
            invocation.pool.hostile(invocation.instance, reason)

    def pause(self, invocation: Invocation) -> None:
        """The client reads slowly."""
        if invocation.instance is not None and invocation.number in self.inflight:
            invocation.instance.pause(invocation)

    def resume(self, invocation: Invocation) -> None:
        """The client reads again."""
        if invocation.instance is not None and invocation.number in self.inflight:
            invocation.instance.resume(invocation)

    def trial(self, version: Version, done: TrialDone) -> None:
        """Start one instance of a version that is not live, see whether it initialises, and end it."""
        pool = self.pool(version)
        pool.trials.append(done)
        self._scaler.wake(pool)

    # ── out ─────────────────────────────────────────────────────────────────────────────────────────────────

    def settled(self, invocation: Invocation) -> None:
        """The invocation has its last frame."""
        if self.inflight.pop(invocation.number, None) is None:
            return
        version = invocation.version
        self._admission.release(version.namespace, version.function)
        if invocation.cancelled:
            invocation.status = Status.CANCELLED
        self.observer.finished(invocation)
        if self._guard.watched:
            self._guard.settle(invocation)

    def fail(self, invocation: Invocation, status: Status, fault: Fault) -> None:
        """End an invocation without an answer of its own."""
        if invocation.number not in self.inflight:
            return
        invocation.error = fault
        sink = invocation.sink
        self._close(invocation, status)
        sink.fault(invocation, fault)

    def _close(self, invocation: Invocation, status: Status) -> None:
        invocation.status = status
        invocation.finished_ns = invocation.finished_ns or self._clock.monotonic_ns()
        self.settled(invocation)

    def called(self, pool: Pool, channel: Channel, frame: Frame) -> None:
        """A function calls another one."""
        if self.hostcalls is None:
            pool.hostile(channel, "calls are not offered here")
        else:
            self.hostcalls.called(pool.version, channel, frame)

    def obstacle(self, version: Version) -> Fault | None:
        """Return why no instance of the version can be told its secrets, if that is known."""
        return self.secrets.obstacle(version) if self.secrets is not None else None

    def opened(self, version: Version) -> Opened:
        """Return what an instance of the version is told of secrets. Raises: `Fault`."""
        return self.secrets.open(version) if self.secrets is not None else NOTHING

    def logged(self, pool: Pool, channel: Channel, invocation: Invocation | None, text: bytes) -> None:
        """Output ahead of an outcome, or of no invocation."""
        if invocation is None:
            self.observer.instance_log(pool.version, channel.instance, text)
        else:
            self.observer.invocation_log(invocation.id, pool.version, text)

    def cold_started(self, pool: Pool, channel: Channel) -> None:
        """An instance initialised."""
        self.observer.cold_started(pool.version, channel.sandbox_ns, channel.init_ns, channel.pooled)

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────

    def watch_queue(self, channel: Channel) -> None:
        """Look after a channel with events queued ahead until there are none."""
        self._deep[channel.instance] = channel
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(OVERDUE_TICK_S, self._relieve)

    def _relieve(self) -> None:
        for instance, channel in list(self._deep.items()):
            pool = next(iter(channel.inflight.values())).pool if channel.inflight else None
            if pool is None or not pool.relieve(channel):
                self._deep.pop(instance, None)
        self._ticking = bool(self._deep)
        if self._ticking:
            self._loop.call_later(OVERDUE_TICK_S, self._relieve)

    def _check_deadlines(self) -> None:
        """End what is past its deadline. One scan of what is in flight: bounded by the concurrency limits."""
        now = self._clock.monotonic_ns()
        for invocation in [one for one in self.inflight.values() if one.deadline_ns <= now]:
            self._expire(invocation)
        self._deadlines = bool(self.inflight)
        if self._deadlines:
            self._loop.call_later(DEADLINE_TICK_S, self._check_deadlines)

    def _expire(self, invocation: Invocation) -> None:
        pool: Pool = invocation.pool
        channel: Channel | None = invocation.instance
        if invocation.number not in self.inflight:
            return
        if channel is not None:
            pool.overdue(invocation)
        elif invocation in pool.waiting:
            pool.waiting.remove(invocation)
        self.fail(invocation, Status.TIMEOUT, self._why_late(invocation, pool, channel))

    @staticmethod
    def _why_late(invocation: Invocation, pool: Pool, channel: Channel | None) -> Fault:
        limit_s = invocation.version.timeout_s
        if channel is None:
            cause = f"no instance was free within {limit_s:g} s (instances.max = {pool.version.instances_max})"
            if pool.last_fault is not None:
                cause = f"no instance started within {limit_s:g} s; the last try said: {pool.last_fault.message}"
        elif invocation.endless:
            cause = f"the function's stream of events said nothing for {invocation.idle_ns / _NS:g} s"
        elif not channel.ready:
            cause = f"the function was still initialising after {limit_s:g} s"
        else:
            cause = f"the function ran longer than its timeout of {limit_s:g} s"
        return Fault("timeout", cause, timeout_s=limit_s)

    def forget_unused(self) -> None:
        """Drop the pools of versions that have been at zero for a while. Called by the periodic sweep."""
        limit_ns = self._clock.monotonic_ns() - POOL_KEPT_S * _NS
        for pool in self:
            kept = not pool.retired and (pool.version.instances_min or pool.floor)
            if pool.empty and not kept and pool.last_used_ns < limit_ns:
                del self.pools[pool.version.id]
                if pool.version.memory_bytes == 0 and pool.memory_bytes != MEMORY_START:
                    self._learned[pool.version.id] = pool.memory_bytes

    def check_initialisation(self, limit_s: float = INIT_S) -> None:
        """End instances that initialise for too long. Called by the periodic sweep."""
        limit_ns = self._clock.monotonic_ns() - int(limit_s * _NS)
        fault = Fault("init_failed", f"initialisation ran longer than {limit_s:g} s", limit_s=limit_s)
        for pool in self:
            if pool.roster.warming:
                for channel in list(pool.roster.channels.values()):
                    if not channel.ready and not channel.stopping and channel.started_ns < limit_ns:
                        pool.init_failed(channel, fault)
