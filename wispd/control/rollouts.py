"""Rollouts: the shell around `rolling.decide`. It watches counters, moves `live`, keeps its state in the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.control.dataplane import DataPlane
from wispd.control.names import check_name
from wispd.control.plans import plan_of
from wispd.control.pointing import ROLLBACK_WARM_S, SHIFT_WARM_S, Pointing, check_rolling
from wispd.control.rolling import Seen, Step, applied, decide
from wispd.control.writer import Writer
from wispd.model.alias import LIVE, Pointer, Share, whole
from wispd.model.counts import VersionCounts
from wispd.model.published import Entry
from wispd.model.rollout import Rollout
from wispd.ports.catalogue import Catalogue, Reading
from wispd.ports.versions import Cause

TICK_S: Final = 0.5
_NONE: Final = Seen()


class Watch(Struct):
    """What one step has shown so far. It begins anew when this process or the gateway does."""

    step: int
    began_ns: int
    base: dict[int, VersionCounts]
    new: Seen = _NONE
    old: Seen = _NONE
    waits_for: str = ""


class Rollouts:
    """All rollouts of a node. `bounds_s` are the upper bounds of the gateway's buckets."""

    def __init__(
        self, reading: Reading, writer: Writer, gateway: DataPlane, *, pointing: Pointing, clock: Clock,
        bounds_s: Sequence[float],
    ) -> None:  # fmt: skip
        self._reading = reading
        self._writer = writer
        self._gateway = gateway
        self._pointing = pointing
        self._clock = clock
        self._bounds_s = bounds_s
        self._watches: dict[tuple[str, str], Watch] = {}

    def status(self, namespace: str, name: str) -> tuple[Rollout, Watch | None]:
        """Return the latest rollout of a function, and what its present step has shown. Raises: `not_found`."""
        check_name(namespace, "namespace")
        found = self._reading.rollouts.latest(namespace, check_name(name))
        if found is None:
            raise Fault("not_found", f"there was no rollout of function {name!r} in namespace {namespace!r}")
        return found, self._watches.get((namespace, name)) if found.state == "running" else None

    async def start(self, namespace: str, name: str, document: object, *, by: str = "") -> Rollout:
        """Begin with the first step. Raises: `Fault` `invalid_argument`, `not_found`, `conflict`."""
        target, plan = plan_of(document)
        self._pointing.version(namespace, name, number=target)
        base = self._pointing.alias(namespace, name, LIVE).pointer.whole
        if not base or base == target:
            why = f"version {target} is live" if base else "live is divided already; point it at one version first"
            raise Fault("conflict", f"{name}: {why}", version=target)
        now_us = self._clock.unix_ns() // 1000
        rollout = Rollout(
            namespace=namespace,
            function=name,
            base=base,
            target=target,
            plan=plan,
            started_us=now_us,
            updated_us=now_us,
            started_by=by,
        )
        await self._pointing.warm(namespace, name, [target], patience_s=SHIFT_WARM_S)
        base_counts = await self._counts(rollout)  # before the first call can reach it: that one counts, too

        def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
            check_rolling(catalogue, namespace, name)
            return None, _move(catalogue, rollout, by)

        await self._writer.apply(change)
        self._watches[namespace, name] = Watch(0, self._clock.monotonic_ns(), base_counts)
        return rollout

    async def end(self, namespace: str, name: str, *, promote: bool, by: str = "") -> Rollout:
        """Give all calls to the new version at once, or back to the old one. Raises: `not_found`, `conflict`."""
        found, _ = self.status(namespace, name)
        if found.state != "running":
            raise Fault("conflict", f"the rollout of {name} to version {found.target} is over: {found.state}")
        state, number = ("done", found.target) if promote else ("aborted", found.base)
        ended = msgspec.structs.replace(
            found, state=state, reason="by hand", updated_us=self._clock.unix_ns() // 1000
        )
        await self._pointing.warm(namespace, name, [number], patience_s=ROLLBACK_WARM_S)
        if not await self._replace(found, ended, by):
            raise Fault("conflict", f"the rollout of {name} ended just now; see `wisp rollout status {name}`")
        return ended

    async def run(self, stopping: asyncio.Event) -> None:
        """Watch all running rollouts until told to stop."""
        while not stopping.is_set():
            with contextlib.suppress(Fault):  # store or gateway are away: the next look is soon
                await self.tick()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), TICK_S)

    async def tick(self) -> None:
        """Look at every running rollout once."""
        running = self._reading.rollouts.running()
        keys = {(one.namespace, one.function) for one in running}
        self._watches = {key: watch for key, watch in self._watches.items() if key in keys}
        for rollout in running:
            with contextlib.suppress(Fault):  # one that can't be judged now must not hold up the others
                await self._look(rollout)

    async def _look(self, rollout: Rollout) -> None:
        counts = await self._counts(rollout)
        key = (rollout.namespace, rollout.function)
        watch = self._watches.get(key)
        if watch is None or watch.step != rollout.step or _restarted(watch.base, counts):
            watch = self._watches[key] = Watch(rollout.step, self._clock.monotonic_ns(), counts)
        watch.new, watch.old = (_since(watch.base, counts, number) for number in (rollout.target, rollout.base))
        spent_s = (self._clock.monotonic_ns() - watch.began_ns) / 1e9
        step = decide(rollout, watch.new, watch.old, bounds_s=self._bounds_s, spent_s=spent_s)
        watch.waits_for = step.reason
        if step.move != "stay":
            await self._apply(rollout, step)
            if step.move == "advance":  # what ends while the shares change belongs to the next step
                self._watches[key] = Watch(rollout.step + 1, self._clock.monotonic_ns(), counts)

    async def _counts(self, rollout: Rollout) -> dict[int, VersionCounts]:
        return {one.number: one for one in await self._gateway.counts(rollout.namespace, rollout.function)}

    async def _apply(self, rollout: Rollout, step: Step) -> None:
        if step.move == "roll_back":
            await self._pointing.warm(rollout.namespace, rollout.function, [rollout.base], patience_s=ROLLBACK_WARM_S)
        await self._replace(rollout, applied(rollout, step, self._clock.unix_ns() // 1000), "rollout")

    async def _replace(self, old: Rollout, new: Rollout, by: str) -> bool:
        """Move on, unless somebody else has meanwhile."""

        def change(catalogue: Catalogue) -> tuple[bool, list[Entry]]:
            if catalogue.rollouts.latest(old.namespace, old.function) != old:
                return False, []
            return True, _move(catalogue, new, by)

        return await self._writer.apply(change)


def pointer_of_step(rollout: Rollout) -> Pointer:
    """Return what `live` points at in the present state of a rollout."""
    percent = rollout.percent
    if rollout.state != "running":
        return whole(LIVE, rollout.target if rollout.state == "done" else rollout.base)
    shares = (Share(rollout.base, 100 - percent), Share(rollout.target, percent))
    ordered = sorted((share for share in shares if share.weight), key=lambda share: share.number)
    return Pointer(alias=LIVE, shares=tuple(ordered), sticky=rollout.plan.sticky)


def _move(catalogue: Catalogue, rollout: Rollout, by: str) -> list[Entry]:
    """Keep the state and point `live` where it says, as one change."""
    namespace, name = rollout.namespace, rollout.function
    why = f"rollout to version {rollout.target}: {rollout.percent} %"
    if rollout.state != "running":
        why = f"rollout to version {rollout.target} {rollout.state.replace('_', ' ')}"
        why += f": {rollout.reason}" if rollout.reason else ""
    catalogue.rollouts.keep(rollout)
    catalogue.versions.point(namespace, name, pointer=pointer_of_step(rollout), cause=Cause(why=why, by=by))
    found = catalogue.find(namespace, name)
    return [found.published] if found is not None else []


def _restarted(base: dict[int, VersionCounts], counts: dict[int, VersionCounts]) -> bool:
    """Do counters say less than before? Then the gateway counts anew."""
    return any(number not in counts or counts[number].calls < known.calls for number, known in base.items())


def _since(base: dict[int, VersionCounts], counts: dict[int, VersionCounts], number: int) -> Seen:
    now, then = counts.get(number), base.get(number)
    if now is None:
        return _NONE
    if then is None:
        return Seen(now.calls, now.failed, now.buckets)
    buckets = [after - before for after, before in zip(now.buckets, then.buckets, strict=False)]
    return Seen(now.calls - then.calls, now.failed - then.failed, buckets)
