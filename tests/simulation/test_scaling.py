"""Scaling over hours of virtual time: the promises of decisions in numbers that don't depend on the machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from gateway_harness import version
from world import World, poisson

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> Iterator[MakeWorld]:
    worlds: list[World] = []

    def make(*given: object, **settings: object) -> World:
        worlds.append(World(*given, **settings))  # type: ignore[arg-type]
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def everything_ended_once(world: World) -> None:
    """Each event has exactly one end, none ran twice, nothing is left in flight."""
    assert not world.dispatcher.inflight
    assert world.admission.inflight == 0
    for invocation, ear in world.ears:
        assert len(ear.heads) + len(ear.faults) == 1, invocation
    assert len(world.observer.done) == len(world.ears) - len(world.observer.refusals)
    assert max(world.runs.values(), default=0) <= 1


def test_a_day_of_sparse_calls_costs_nothing_between_them(make_world: MakeWorld) -> None:
    world = make_world(lambda: 0.02)
    times = [n * 600.0 for n in range(48)]  # every ten minutes, idle = 60 s
    world.play(version(), times, then_s=120)
    everything_ended_once(world)
    assert not world.engine.players, "at zero"
    assert all(one.cold for one, _ in world.ears)
    assert world.instance_seconds < 48 * 61.5


def test_an_hour_of_waves_follows_the_load_and_returns_to_zero(make_world: MakeWorld) -> None:
    world = make_world(lambda: 0.1)
    source = random.Random(7)
    times: list[float] = []
    for minute in range(0, 60, 10):
        rate = 1 + minute / 5
        times += [minute * 60 + at for at in poisson(source, rate, 240)]
    world.play(version(idle_s=20), times, then_s=60)
    everything_ended_once(world)
    assert not world.engine.players
    assert world.most_instances <= 12  # 12/s × 0.1 s = 1.2 busy on average; bursts of a Poisson process above it
    assert world.waits_ms()[-1] <= 10, "nobody waits longer than a start"


def test_a_burst_of_two_hundred_gets_two_hundred_instances(make_world: MakeWorld) -> None:
    world = make_world(lambda: 1.0)
    world.play(version(), [0.0] * 200, then_s=5)
    everything_ended_once(world)
    assert world.most_instances == 200
    assert world.waits_ms()[-1] <= 10


def test_sub_millisecond_events_share_instances_and_none_waits_over_10_ms(make_world: MakeWorld) -> None:
    source = random.Random(3)
    world = make_world(lambda: source.expovariate(1 / 0.0002))
    world.play(version(), poisson(source, 2000, 20), then_s=1)
    everything_ended_once(world)
    assert world.most_instances <= 16, "those that the first 5 ms asked for, before there was an estimate"
    begins = sorted((one.finished_ns - one.run_ns - one.received_ns) / 1e6 for one, ear in world.ears if ear.heads)
    assert begins[-1] <= 10


def test_an_event_that_turns_slow_does_not_hold_others(make_world: MakeWorld) -> None:
    source = random.Random(5)
    world = make_world(lambda: 0.5 if source.random() < 0.002 else 0.0001)
    world.play(version(), poisson(source, 1000, 20), then_s=2)
    everything_ended_once(world)
    begins = sorted((one.finished_ns - one.run_ns - one.received_ns) / 1e6 for one, ear in world.ears if ear.heads)
    assert begins[-1] <= 10, "taken back from behind the slow one"


def test_without_taking_back_events_wait_behind_the_slow_one(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test above."""
    monkeypatch.setattr("wispd.gateway.channel.Channel.take_back", lambda self: [])
    source = random.Random(5)
    world = make_world(lambda: 0.5 if source.random() < 0.002 else 0.0001)
    world.play(version(), poisson(source, 1000, 20), then_s=2)
    begins = sorted((one.finished_ns - one.run_ns - one.received_ns) / 1e6 for one, ear in world.ears if ear.heads)
    assert begins[-1] > 100


@pytest.mark.parametrize("seed", range(5))
def test_crashing_instances_lose_only_what_they_had_begun(make_world: MakeWorld, seed: int) -> None:
    source = random.Random(seed)
    world = make_world(lambda: source.expovariate(1 / 0.0003), seed=seed, crash_share=0.01)
    world.play(version(), poisson(source, 800, 15), then_s=3)
    everything_ended_once(world)
    lost = [ear for _, ear in world.ears if ear.faults]
    assert {ear.code for ear in lost} <= {"instance_lost"}
    assert len(lost) < 0.03 * len(world.ears)


def test_never_more_than_the_maximum_and_the_namespace_limit(make_world: MakeWorld) -> None:
    world = make_world(lambda: 0.2, limit=50)
    world.play(version(instances_max=7, timeout_s=3), [n * 0.001 for n in range(400)], then_s=10)
    everything_ended_once(world)
    assert world.most_instances == 7
    codes = {ear.code for _, ear in world.ears if ear.faults}
    assert codes == {"throttled"}


def test_memory_budget_bounds_the_instances_and_frees_them_for_others(make_world: MakeWorld) -> None:
    world = make_world(lambda: 0.05, budget_bytes=10 * 32 << 20)
    for n in range(40):
        world.play(version(function=f"f{n}", id=f"ver_{n}"), [0.3])
    world.loop.advance(1)
    everything_ended_once(world)
    assert world.most_instances <= 40
    assert all(ear.heads for _, ear in world.ears), "idle ones made room"
