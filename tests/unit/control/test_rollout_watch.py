"""What a rollout counts: every call since its step began, those before the first look included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from wispd.base.clock import VirtualClock
from wispd.control.rollouts import Rollouts
from wispd.model.counts import VersionCounts
from wispd.model.rollout import Rollout

BOUNDS_S = [0.001, 1.0]


class World:
    """Store, writer, gateway and pointing of one function, as far as rollouts ask."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.calls = {1: [0, 0], 2: [0, 0]}
        self.kept: Rollout | None = None
        self.rollouts = SimpleNamespace(latest=lambda *_: self.kept, running=self._running, keep=self._keep)
        self.versions = SimpleNamespace(point=lambda *_, **__: None)
        alias = SimpleNamespace(pointer=SimpleNamespace(whole=1))
        pointing = SimpleNamespace(version=lambda *_, **__: None, alias=lambda *_: alias, warm=self._warm)
        self.core = Rollouts(self, self, self, pointing=pointing, clock=self.clock, bounds_s=BOUNDS_S)  # type: ignore[arg-type]

    def _running(self) -> list[Rollout]:
        return [self.kept] if self.kept and self.kept.state == "running" else []

    def _keep(self, rollout: Rollout) -> None:
        self.kept = rollout

    async def _warm(self, *_: Any, **__: Any) -> None: ...

    def find(self, *_: str) -> None:
        return None

    async def apply(self, change: Callable[[Any], tuple[Any, Any]]) -> Any:
        return change(self)[0]

    async def counts(self, *_: str) -> list[VersionCounts]:
        rows = self.calls.items()
        return [VersionCounts(number=n, calls=c, failed=f, buckets=[c, 0, 0]) for n, (c, f) in rows]


async def _rolled(world: World, first: Callable[[], None], *, steps: list[int]) -> Rollout:
    plan = {"version": 2, "steps": steps, "every": "10s", "max_errors": 0.02}
    await world.core.start("default", "f", plan)
    first()
    for _ in range(100):
        world.clock.advance(0.5)
        await world.core.tick()
    assert world.kept is not None
    return world.kept


def test_calls_before_the_first_look_count() -> None:
    world = World()
    world.calls[1] = [100, 0]
    ended = asyncio.run(_rolled(world, lambda: world.calls.update({2: [8, 8]}), steps=[50, 100]))
    assert ended.state == "rolled_back"
    assert "8 of 8 calls failed" in ended.reason


def test_calls_right_after_a_step_count_for_the_next() -> None:
    world = World()

    async def move() -> Rollout:
        await world.core.start(
            "default", "f", {"version": 2, "steps": [10, 50, 100], "every": "10s", "max_errors": 0.02}
        )
        while world.kept and world.kept.step == 0:
            world.clock.advance(0.5)
            await world.core.tick()
        world.calls[2] = [8, 8]  # between two looks
        for _ in range(100):
            world.clock.advance(0.5)
            await world.core.tick()
        assert world.kept is not None
        return world.kept

    assert asyncio.run(move()).state == "rolled_back"


def test_a_version_without_failures_gets_everything() -> None:
    world = World()
    assert asyncio.run(_rolled(world, lambda: world.calls.update({2: [8, 0]}), steps=[50, 100])).state == "done"
