"""The gateway's meter: what instances use besides calls, looked at every second and written down every few."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from wispd.base.clock import Clock
from wispd.gateway.pool import Pool
from wispd.gateway.router import RouteTable
from wispd.metering.guard import SpendGuard
from wispd.metering.keeping import kept_idle, kept_mib_ms
from wispd.model.function import BUILD_FUNCTION, Version
from wispd.observe.observer import GatewayObserver

LOOK_NS: Final = 1_000_000_000
WRITE_NS: Final = 5_000_000_000  # what is not written is lost when the gateway is killed, in the payer's favour


class _Used:
    """What one version used since it was last written down."""

    __slots__ = ("cpu_ns", "refused", "version", "warm_mib_ms")

    def __init__(self, version: Version) -> None:
        self.version = version
        self.warm_mib_ms = self.cpu_ns = self.refused = 0


class Meter:
    """Kept instances, CPU time and refused calls of all versions."""

    def __init__(
        self,
        clock: Clock,
        *,
        pools: Callable[[], Iterable[Pool]],
        observer: GatewayObserver,
        guard: SpendGuard,
        table: RouteTable,
    ) -> None:
        self._clock = clock
        self._pools = pools
        self._observer = observer
        self._guard = guard
        self._table = table
        self._used: dict[str, _Used] = {}
        self._looked_ns = self._written_ns = clock.monotonic_ns()
        self.wake: Callable[[Pool], None] = lambda pool: None  # instances may be kept again

    def tick(self) -> None:
        """Look, when it is time. Call it often. O(pools) each second."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._looked_ns >= LOOK_NS:
            self._look(now_ns)
        if now_ns - self._written_ns >= WRITE_NS:
            self.write()

    def write(self) -> None:
        """Write everything down."""
        self._written_ns = self._clock.monotonic_ns()
        limited, self._observer.limited = self._observer.limited, {}
        for (namespace, function), refused in limited.items():
            entry = self._table.function(namespace, function)
            if entry is not None:
                self._of(entry.live).refused += refused
        used, self._used = self._used, {}
        for one in used.values():
            self._observer.metered(one.version, warm_mib_ms=one.warm_mib_ms, cpu_ns=one.cpu_ns, refused=one.refused)

    def _look(self, now_ns: int) -> None:
        elapsed_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        for pool in self._pools():
            roster, version = pool.roster, pool.version
            if version.id.startswith("trial ") or version.function == BUILD_FUNCTION:
                continue
            if roster.channels or roster.ended_cpu_ns:
                cpu_ns = roster.cpu_used_ns(now_ns)
                if cpu_ns:
                    self._of(version).cpu_ns += cpu_ns
            if version.instances_min and not pool.retired:
                self._keep(pool, elapsed_ns)

    def _keep(self, pool: Pool, elapsed_ns: int) -> None:
        """Charge what a minimum keeps, unless its budget is spent: then nothing is kept."""
        version = pool.version
        stopped = self._guard.stopped(version)
        if stopped != pool.roster.unkept:
            pool.roster.unkept = stopped
            if not stopped:
                self.wake(pool)
        demand = pool.demand()
        kept = 0 if stopped else kept_idle(minimum=version.instances_min, ready=demand.ready, busy=demand.busy)
        if kept:
            warm_mib_ms = kept_mib_ms(kept, memory_bytes=pool.memory_bytes, elapsed_ns=elapsed_ns)
            self._of(version).warm_mib_ms += warm_mib_ms
            self._guard.kept(version, warm_mib_ms)

    def _of(self, version: Version) -> _Used:
        found = self._used.get(version.id)
        if found is None:
            found = self._used[version.id] = _Used(version)
        return found
