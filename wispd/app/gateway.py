"""The gateway's composition: dispatcher, autoscaler, engine, observer, route table and the two doors, on one loop."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from wispd.adapters.engine.process.client import ProcessEngine
from wispd.api.door import BodyBudget
from wispd.api.ingress import Ingress
from wispd.api.internal import InternalDoor, Told, TrialDone, WarmDone
from wispd.api.invocations import InvocationMaker
from wispd.app.keys import keyring
from wispd.app.metering import Meter
from wispd.app.settings import Settings, machine_memory_bytes, price_list
from wispd.app.spending import Spending
from wispd.app.upkeep import Upkeep
from wispd.autoscaler.loop import Autoscaler
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.base.ids import id_source
from wispd.gateway.admission import Admission
from wispd.gateway.dispatcher import Dispatcher
from wispd.gateway.hostcalls import HostCalls
from wispd.gateway.http1 import SWEEP_S as HTTP_SWEEP_S
from wispd.gateway.http1 import HttpServer
from wispd.gateway.http1 import Limits as HttpLimits
from wispd.gateway.journal import JournalReader
from wispd.gateway.opening import Ready
from wispd.gateway.pool import Pool
from wispd.gateway.renewal import renew
from wispd.gateway.router import RouteTable
from wispd.gateway.secrets import Secrets
from wispd.metering.guard import SpendGuard
from wispd.model.counts import VersionCounts
from wispd.model.function import BUILD_FUNCTION, Version
from wispd.model.record import time_text
from wispd.observe.live import LiveCalls
from wispd.observe.metrics import GatewayMetrics, Gauges
from wispd.observe.observer import GatewayObserver
from wispd.observe.segments import SegmentWriter

TICK_S: Final = 0.05
JOURNAL_LOOK_S: Final = 1.0  # between two looks for what control wrote and could not tell: it may have died
_NS: Final = 1_000_000_000


class LateScaler:
    """Breaks the circle between the dispatcher and the autoscaler while they are being made."""

    def __init__(self) -> None:
        self.target: Autoscaler | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


class GatewayNode:
    """Everything in the gateway process. Make it inside the running loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, settings: Settings, node_id: str) -> None:
        self._loop = loop
        self._clock = clock
        self._settings = settings
        folder = Path(settings.data_dir)
        self._ids = id_source(clock)
        self._numbers = itertools.count(1).__next__
        self.metrics = GatewayMetrics()
        self._writer = SegmentWriter(folder / "records", clock, node_id=bytes.fromhex(node_id))
        self.observer = GatewayObserver(self._writer, self.metrics, clock)
        self._live = LiveCalls(self.observer, clock)
        self.table = RouteTable(settings.domain)
        self.table.limits.concurrency = settings.limits.concurrency
        self.admission = Admission(self.table.limits)
        self.guard = SpendGuard(
            clock, price_list(settings.prices), position=lambda: self._writer.position, tell=self._tell
        )
        self._journal = JournalReader(folder / "published", self.table, domain=settings.domain)
        self._generation = self._limits_generation = -1
        late = LateScaler()
        self.dispatcher = Dispatcher(
            loop, clock, observer=self.observer, admission=self.admission, scaler=late, guard=self.guard
        )
        self.scaler = self._make_scaler(late)
        late.target = self.scaler
        self.upkeep = Upkeep(
            loop, clock, table=self.table, dispatcher=self.dispatcher, admission=self.admission, scaler=self.scaler
        )
        self._secrets = self.dispatcher.secrets = Secrets(self.table, keyring(settings))
        self.dispatcher.hostcalls = HostCalls(
            clock, self.table, flow=self.dispatcher, ids=self._ids, numbers=self._numbers
        )
        self._make_doors()
        self._make_meter(folder)
        self.metrics.gauges = self._gauges
        self.metrics.budgets = self.guard.states
        self.draining = False
        self._due_ns = 0
        self._http_due_ns = 0
        self._journal_due_ns = 0

    def _make_scaler(self, late: LateScaler) -> Autoscaler:
        settings = self._settings
        budget = settings.memory_budget_bytes or machine_memory_bytes() * 3 // 4
        # The engine reports to the autoscaler, which is made from the engine: it gets it late, like the dispatcher.
        self.engine = ProcessEngine(late, data=settings.data_dir, loop=self._loop)
        scaler = Autoscaler(
            self._loop,
            self._clock,
            engine=self.engine,
            budget_bytes=budget,
            pool_members=settings.pool_members,
            pools=lambda: iter(self.dispatcher),
        )
        scaler.available = False  # until the launcher says that it is there
        return scaler

    def _make_meter(self, folder: Path) -> None:
        self.meter = Meter(
            self._clock,
            pools=lambda: iter(self.dispatcher),
            observer=self.observer,
            guard=self.guard,
            table=self.table,
        )
        self.meter.wake = self.scaler.wake
        self._spending = Spending(
            self._loop, self.guard, folder / "records", own_epoch=self._writer.epoch, write=self.meter.write
        )

    def _make_doors(self) -> None:
        limits = self._settings.limits
        maker = InvocationMaker(
            self._clock,
            ids=self._ids,
            numbers=self._numbers,
            stream_idle_s=limits.stream_idle_s,
            secure=bool(self._settings.tls_cert),
        )
        bounds = HttpLimits(
            uri_bytes=limits.uri_bytes,
            headers=limits.headers,
            headers_bytes=limits.headers_bytes,
            head_s=limits.head_s,
            body_rate_per_s=limits.body_rate_bytes_per_s,
            idle_s=limits.idle_s,
            write_grace_s=limits.write_s,
            connections=limits.connections,
            message_bytes=limits.message_bytes,
            frames_per_sweep=max(1, int(limits.messages_per_s * HTTP_SWEEP_S)),
            stream_idle_s=limits.stream_idle_s,
        )
        budget = BodyBudget(limits.body_buffer_bytes)
        calls, most = self.dispatcher, limits.body_bytes
        ingress = Ingress(
            calls,
            maker,
            budget,
            table=self.table,
            observer=self.observer,
            loopback=_is_loopback(self._settings.host),
            secure=bool(self._settings.tls_cert),
            body_limit=most,
        )
        internal = InternalDoor(calls, maker, budget, table=self.table, operations=self, body_limit=most)
        self.public = HttpServer(self._loop, self._clock, ingress, limits=bounds)
        self.internal = HttpServer(self._loop, self._clock, internal)

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, public: socket.socket, internal: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Serve from what the journal says, with or without control."""
        self._refresh(starting=True)
        await self._spending.prepare()
        await self.internal.listen(internal)
        await self.public.listen(public, tls)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)  # the hot path makes no cycles: look for them rarely
        self._due_ns = self._clock.monotonic_ns()
        self._tick()

    def _tick(self) -> None:
        """The periodic part, in small steps, so that it never holds up a request for long."""
        now_ns = self._clock.monotonic_ns()
        self.metrics.loop_lag(max(0, now_ns - self._due_ns))
        if self.engine.level and not self.scaler.available:
            self.scaler.restored()
        self.scaler.sweep()
        self.dispatcher.check_initialisation(self._settings.limits.init_s)
        self.upkeep.tick()
        self.dispatcher.forget_unused()
        self.observer.tick()
        self._live.tick()
        self.dispatcher.observer = self._live if self._live.watched else self.observer
        self.meter.tick()
        if now_ns >= self._journal_due_ns:
            self._journal_due_ns = now_ns + int(JOURNAL_LOOK_S * _NS)
            self._refresh()
        if now_ns >= self._http_due_ns:
            self._http_due_ns = now_ns + int(HTTP_SWEEP_S * _NS)
            self._spending.refresh()
            self.public.sweep()
            self.internal.sweep()
        self._due_ns = self._clock.monotonic_ns() + int(TICK_S * _NS)
        self._loop.call_later(TICK_S, self._tick)

    def drain(self) -> None:
        """Refuse new requests; what runs goes on."""
        self.draining = True
        self.public.drain()

    @property
    def quiet(self) -> bool:
        """Nothing is in flight any more."""
        return not self.dispatcher.inflight and not self.public.busy

    def close(self) -> None:
        """Drop everything at once."""
        self.public.close()
        self.internal.close()
        self.engine.close()
        self._spending.close()
        self.meter.write()
        self._writer.close()

    # ── what the internal door asks ─────────────────────────────────────────────────────────────────────────

    def published(self, offset: int) -> int:
        """Take in the journal; return how far."""
        reached = self._refresh()
        return max(reached, offset) if self._journal.offset >= offset else reached

    def _refresh(self, *, starting: bool = False) -> int:
        reached = self._journal.refresh()
        limits = self.table.limits
        if limits.generation != self._limits_generation:
            self._limits_generation = limits.generation
            self.guard.configure(limits.budgets.values(), limits.quotas.values(), starting=starting)
            self._spending.refresh()
        if self.table.generation != self._generation:
            self._generation = self.table.generation
            self._secrets.published()
            for pool in self.dispatcher:
                if pool.version.secrets:
                    renew(pool, self._secrets.stamp(pool.version))
            self.upkeep.published(self.table.altered())
        return reached

    def counts(self, namespace: str, name: str) -> list[VersionCounts]:
        """Return what was counted of a function's versions."""
        return self.metrics.counts(namespace, name)

    def snapshot(self) -> bytes:
        """Return all counters as JSON: whoever asks renders them."""
        return msgspec.json.encode(self.metrics.snapshot())

    def status(self) -> dict[str, object]:
        """Return what this gateway does now."""
        return {
            "state": "draining" if self.draining else "serving",
            "level": self.engine.level,
            "launcher": self.scaler.available,
            "functions_published": len(self.table),
            "journal": {"offset": self._journal.offset, "corrupt": self._journal.corrupt},
            "inflight": len(self.dispatcher.inflight),
            "memory": {
                "budget_bytes": self.scaler.budget_bytes,
                "reserved_bytes": self.scaler.reserved_bytes(),
            },
            "budgets": msgspec.to_builtins(self.guard.states()),
            "http": msgspec.to_builtins(self.public.statistics()),
            "functions": [_pool_status(pool) for pool in self.dispatcher if not _is_passing(pool.version)],
        }

    def calls(self, namespace: str, after: int, told: Told) -> None:
        """Tell the calls that ended behind event `after`; from now on they are kept for a while."""
        if not self._live.ask(namespace, after, told):
            told([], max(after, 0))
        self.dispatcher.observer = self._live

    def trial(self, version: Version, done: TrialDone) -> None:
        """Start a version that is not live; `done(ready, fault, init_ns)`."""
        began_ns = self._clock.monotonic_ns()

        def finished(ready: Ready | None, fault: Fault | None) -> None:
            done(ready, fault, self._clock.monotonic_ns() - began_ns)

        # An id of its own: what serves later knows the version as it was published, with number and dialect.
        self.dispatcher.trial(msgspec.structs.replace(version, id=f"trial {version.id}"), finished)

    def _tell(self, line: str) -> None:
        """Write a line to this process's log."""
        sys.stderr.write(f"{time_text(self._clock.unix_ns() // 1000)} {line}\n")
        sys.stderr.flush()

    def warm(self, version: Version, done: WarmDone) -> None:
        """Start what a version's function needs now; `done(ready, fault)`."""
        self.upkeep.warm(version, done)

    def _gauges(self) -> Gauges:
        states = {"ready": 0, "busy": 0, "starting": 0}
        for pool in self.dispatcher:
            for state, count in _pool_instances(pool).items():
                states[state] += count
        return Gauges(
            instances=states,
            memory_reserved_bytes=self.scaler.reserved_bytes(),
            memory_budget_bytes=self.scaler.budget_bytes,
        )


def _pool_instances(pool: Pool) -> dict[str, int]:
    """Count a pool's instances: `ready` are idle, `busy` have an event, `starting` are not initialised."""
    demand = pool.demand()
    return {"ready": max(0, demand.ready - demand.busy), "busy": demand.busy, "starting": demand.starting}


def _is_passing(version: Version) -> bool:
    """Is this a trial or a build, which nobody deployed?"""
    return version.id.startswith("trial ") or version.function == BUILD_FUNCTION


def _pool_status(pool: Pool) -> dict[str, object]:
    version = pool.version
    return {
        "namespace": version.namespace,
        "name": version.function,
        "version": version.number,
        "instances": _pool_instances(pool),
        "waiting": len(pool.waiting),
        "run_ms": round(pool.estimate_ns / 1e6, 3),
        "memory_bytes": pool.memory_bytes,
        "peak_bytes": pool.peak_bytes,
        "used_bytes": sum(channel.bytes for channel in pool.roster.channels.values()),
    }


def _is_loopback(host: str) -> bool:
    return host in ("127.0.0.1", "::1", "localhost") or host.startswith("127.")
