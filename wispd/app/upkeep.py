"""Upkeep: the gateway's pools in step with what is published: retired, kept at minimums, warmed ahead of calls."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Struct

from wispd.api.internal import WarmDone
from wispd.autoscaler.loop import Autoscaler
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.gateway.admission import Admission
from wispd.gateway.dispatcher import Dispatcher
from wispd.gateway.pool import Pool
from wispd.gateway.router import RouteTable
from wispd.gateway.warming import needed
from wispd.model.function import Published, Version

HELD_S: Final = 15.0  # for what was warmed to be published; after it the pool is like any other
LOOK_S: Final = 0.002  # between two looks whether what was warmed is ready
_NS: Final = 1_000_000_000


class _Warming(Struct):
    """One version that is started ahead. It ends when enough is ready, when none can be, or at `until_ns`."""

    pool: Pool
    wanted: int
    done: WarmDone
    until_ns: int


class Upkeep:
    """Follows the route table. Make it inside of the running loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, *, table: RouteTable, dispatcher: Dispatcher,
        admission: Admission, scaler: Autoscaler,
    ) -> None:  # fmt: skip
        self._loop = loop
        self._clock = clock
        self._table = table
        self._dispatcher = dispatcher
        self._admission = admission
        self._scaler = scaler
        self._reserved: dict[tuple[str, str], int] = {}
        self._held: dict[str, int] = {}  # pools by version → until when they are kept without being published

    def published(self, altered: set[str] | None) -> None:
        """Retire what nothing points at any more, keep minimums, set reserved shares. `altered`: as of the table."""
        for pool in self._dispatcher:
            key = f"{pool.version.namespace}/{pool.version.function}".lower()
            if altered is None or key in altered:
                self._judge(pool)
        special = self._table.special()
        reserved = {(one.namespace, one.live.function): one.concurrency_reserved for one in special}
        for key_ in self._reserved.keys() - reserved.keys():
            self._admission.reserve(*key_, -1)
        for key_, share in reserved.items():
            self._admission.reserve(*key_, share)
        self._reserved = reserved
        for entry in special:
            if entry.enabled:
                self._keep_minimum(entry)

    def tick(self) -> None:
        """Let go of what was held long enough. Some twenty times a second."""
        if not self._held:
            return
        now_ns = self._clock.monotonic_ns()
        for version_id in [key for key, until_ns in self._held.items() if until_ns <= now_ns]:
            self._release(version_id)

    def warm(self, version: Version, done: WarmDone) -> None:
        """Start as many instances as the function needs now; `done` hears how many are ready, or why none is."""
        function = self._table.function(version.namespace, version.function)
        serving = [pool.demand() for pool in self._dispatcher if _beside(pool.version, version, function)]
        wanted = needed(serving, minimum=version.instances_min, maximum=version.instances_max)
        if not wanted or (function is not None and not function.enabled):
            done(0, None)
            return
        pool = self._dispatcher.pool(version)
        pool.retired = False
        pool.floor = max(pool.floor, wanted)
        pool.last_fault = None
        now_ns = self._clock.monotonic_ns()
        self._held[version.id] = now_ns + int((HELD_S + version.timeout_s) * _NS)
        self._scaler.wake(pool)
        until_ns = now_ns + int((version.timeout_s + HELD_S) * _NS)
        self._look(_Warming(pool, wanted, done, until_ns))

    def _look(self, one: _Warming) -> None:
        pool = one.pool
        ready = pool.demand().ready
        late = self._clock.monotonic_ns() >= one.until_ns
        if ready >= one.wanted or (ready and (late or pool.last_fault is not None)):
            self._held[pool.version.id] = self._clock.monotonic_ns() + int(HELD_S * _NS)
            one.done(ready, None)
        elif late or pool.last_fault is not None:
            fault = pool.last_fault or Fault("init_failed", "no instance was ready in time")
            self._release(pool.version.id)
            one.done(0, fault)
        else:
            self._loop.call_later(LOOK_S, self._look, one)

    def _release(self, version_id: str) -> None:
        self._held.pop(version_id, None)
        pool = self._dispatcher.pools.get(version_id)
        if pool is not None:
            pool.floor = 0
            self._judge(pool)

    def _judge(self, pool: Pool) -> None:
        version = pool.version
        entry = self._table.function(version.namespace, version.function)
        serves = entry is not None and entry.enabled and entry.serves(version.id)
        pool.retired = not (serves or version.id in self._held)

    def _keep_minimum(self, entry: Published) -> None:
        for version in (entry.live, *entry.others):
            if version.instances_min:
                self._scaler.wake(self._dispatcher.pool(version))


def _beside(one: Version, version: Version, function: Published | None) -> bool:
    """Is `one` what the function's callers get now, where `version` is to be next?"""
    return function is not None and one.id != version.id and one.id == function.live.id
