"""The autoscaler: observes pools, decides by the pure files beside it, applies through the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from wispd.autoscaler.budget import evictions
from wispd.autoscaler.keepalive import expired
from wispd.autoscaler.prewarm import KINDS_MAX, USUAL, Kind, kind_of, members, unused
from wispd.autoscaler.scaling import Backoff, failed, starts
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.ports.demand import IdleInstance, ScaledPool
from wispd.ports.engine import Engine, ExitCause, Exited, Started, StartSpec

SWEEP_S: Final = 0.25  # between two looks at the same pool
SLICE: Final = 64  # pools looked at in one go
SAMPLE_S: Final = 1.0
_CALM: Final = Backoff()
SCRATCH_MAX: Final = 512 * 1024 * 1024


class Autoscaler:
    """Starts instances when events wait, ends them when they are idle. Implements `Scaler` and `EngineEvents`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        engine: Engine,
        budget_bytes: int,
        pool_members: int = 0,
        pools: Callable[[], Iterable[ScaledPool]],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._engine = engine
        self.budget_bytes = budget_bytes
        self._pool_members = pool_members
        self._kinds: dict[Kind, int] = {}  # kept ready → when last used
        self._pools = pools
        self._tickets: dict[int, tuple[ScaledPool, int]] = {}
        self._owners: dict[int, ScaledPool] = {}  # instance → pool
        self._backoffs: dict[str, Backoff] = {}
        self._last_ticket = 0
        self._reserved_bytes = 0
        self._round: list[ScaledPool] = []  # pools still to be swept in this round
        self._round_ns = clock.monotonic_ns()
        self._sampled_ns = self._round_ns
        self._seconds = SWEEP_S
        self.available = True

    # ── Scaler ──────────────────────────────────────────────────────────────────────────────────────────────

    def wake(self, pool: ScaledPool) -> None:
        """Decide for one pool now."""
        if not self.available:
            return
        demand = pool.demand()
        version = pool.version
        backoff = self._backoffs.get(version.id) or _CALM
        count = starts(demand, concurrency=version.concurrency, now_ns=self._clock.monotonic_ns(), backoff=backoff)
        if not count and not demand.starting and pool.trials_waiting():
            count = 1
        for _ in range(count):
            self._start(pool)

    def _start(self, pool: ScaledPool) -> None:
        obstacle = pool.obstacle()
        if obstacle is not None:
            pool.starting_added(1)
            pool.start_refused(obstacle)
            return
        need = pool.expected_bytes()
        reserved = self._reserved_bytes
        chosen: list[int] | None = []
        if reserved + need > self.budget_bytes:  # the running sum only grows between two sweeps: now count exactly
            reserved = self._reserved_bytes = self.reserved_bytes()
            chosen = evictions(need, reserved_bytes=reserved, budget_bytes=self.budget_bytes, idle=self._all_idle())
        pool.starting_added(1)
        if chosen is None:
            limit_mb = self.budget_bytes >> 20
            message = (
                f"{need >> 20} MB more do not fit: {reserved >> 20} of {limit_mb} MB are reserved and nothing is idle"
            )
            pool.start_refused(Fault("no_capacity", message, retry_after_s=1.0, budget_bytes=self.budget_bytes))
            return
        for instance in chosen:
            self._end(instance)
        self._reserved_bytes += need
        self._use(kind_of(pool.version))
        self._last_ticket += 1
        self._tickets[self._last_ticket] = (pool, self._clock.monotonic_ns())
        self._engine.start(self._last_ticket, self._spec(pool))

    def _use(self, kind: Kind) -> None:
        """Keep members of a kind ready from its first use on."""
        if kind not in self._kinds and len(self._kinds) < KINDS_MAX:
            self._keep(kind, members(kind, self._pool_members))
        if kind in self._kinds:
            self._kinds[kind] = self._clock.monotonic_ns()

    def _keep(self, kind: Kind, count: int) -> None:
        runtime, layer, namespace, network = kind
        self._kinds[kind] = self._clock.monotonic_ns()
        self._engine.keep(runtime, layer=layer, namespace=namespace, network=network, members=count)

    def prewarm(self) -> None:
        """Ask for the members that every node keeps, and for those in use (after a restart of the launcher)."""
        for kind in {USUAL: 0, **self._kinds}:
            self._keep(kind, members(kind, self._pool_members))

    @staticmethod
    def _spec(pool: ScaledPool) -> StartSpec:
        version = pool.version
        scratch_max = pool.memory_bytes if version.scratch_bytes else pool.memory_bytes // 2
        return StartSpec(
            namespace=version.namespace,
            code=version.code,
            layer=version.layer,
            runtime=version.runtime,
            network=version.network,
            network_allow=version.network_allow,
            memory_bytes=pool.memory_bytes,
            scratch_bytes=min(version.scratch_bytes or SCRATCH_MAX, scratch_max),
            cpu=version.cpu,
        )

    def stop(self, instance: int) -> None:
        """End an instance now."""
        if instance in self._owners:
            self._engine.stop(instance)

    def failed(self, pool: ScaledPool) -> None:
        """An instance did not initialise: the next try waits."""
        now_ns = self._clock.monotonic_ns()
        backoff = failed(self._backoffs.get(pool.version.id) or Backoff(), now_ns)
        self._backoffs[pool.version.id] = backoff
        self._loop.call_later((backoff.until_ns - now_ns) / 1e9 + 0.001, self.wake, pool)

    def succeeded(self, pool: ScaledPool) -> None:
        """An instance initialised."""
        self._backoffs.pop(pool.version.id, None)

    # ── EngineEvents ────────────────────────────────────────────────────────────────────────────────────────

    def started(self, ticket: int, started: Started) -> None:
        pool, asked_ns = self._tickets.pop(ticket)
        self._owners[started.instance] = pool
        pool.adopt(started, self._clock.monotonic_ns() - asked_ns)

    def refused(self, ticket: int, fault: Fault) -> None:
        entry = self._tickets.pop(ticket, None)
        if entry is not None:
            entry[0].start_refused(fault)
            self.failed(entry[0])

    def exited(self, exited: Exited) -> None:
        pool = self._owners.pop(exited.instance, None)
        if pool is not None:
            pool.ended(exited)

    def sampled(self, usage: Sequence[tuple[int, int]]) -> None:
        for instance, size in usage:
            pool = self._owners.get(instance)
            if pool is not None:
                pool.sampled(instance, size)

    def lost(self) -> None:
        """The launcher died and every instance with it."""
        self.available = False
        for instance in list(self._owners):
            gone = Exited(instance=instance, cause=ExitCause.LAUNCHER_LOST, status=0, cpu_ns=0, peak_bytes=0)
            self.exited(gone)
        for ticket in list(self._tickets):
            pool, _ = self._tickets.pop(ticket)
            pool.start_lost()

    def restored(self) -> None:
        """Instances can be started again: serve those who waited through it."""
        self.available = True
        self.prewarm()
        for pool in self._pools():
            self.wake(pool)

    # ── periodic ────────────────────────────────────────────────────────────────────────────────────────────

    def sweep(self) -> None:
        """End what was idle too long, keep minimums, sample memory. A slice of the pools each call, so that ten
        thousand of them never hold up a request; a round over all of them takes SWEEP_S or longer.
        """
        now_ns = self._clock.monotonic_ns()
        for _ in range(min(len(self._round), SLICE)):
            self._look_after(self._round.pop(), now_ns)
        if self._round or now_ns - self._round_ns < int(SWEEP_S * 1e9):
            return
        self._seconds = (now_ns - self._round_ns) / 1e9
        self._round_ns = now_ns
        self._round = list(self._pools())
        self._reserved_bytes = sum(pool.reserved_bytes() for pool in self._round)
        if self._owners and now_ns - self._sampled_ns >= int(SAMPLE_S * 1e9):
            self._sampled_ns = now_ns
            self._engine.sample()
        for kind in unused(self._kinds, now_ns):
            self._keep(kind, 0)
            del self._kinds[kind]

    def _look_after(self, pool: ScaledPool, now_ns: int) -> None:
        pool.measure(self._seconds)
        idle = pool.idle_instances()
        if idle:
            idle_ns = int(pool.version.idle_s * 1e9)
            for instance in expired(idle, pool.demand(), idle_ns=idle_ns, retired=pool.retired, now_ns=now_ns):
                self._end(instance)
        self.wake(pool)

    def reserved_bytes(self) -> int:
        """What all instances count against the budget."""
        return sum(pool.reserved_bytes() for pool in self._pools())

    def _all_idle(self) -> list[IdleInstance]:
        return [one for pool in self._pools() for one in pool.idle_instances()]

    def _end(self, instance: int) -> None:
        pool = self._owners.get(instance)
        if pool is not None:
            pool.end(instance)
