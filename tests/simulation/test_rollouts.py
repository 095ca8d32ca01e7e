"""Rollouts on virtual time: an hour of traffic to a good, a bad, a slow and a silent version takes milliseconds."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from wispd.control.rolling import Seen, Step, applied, decide, least, quantile
from wispd.model.rollout import Plan, Rollout

BOUNDS_S = [0.00005 * 2**index for index in range(24)]
TICK_S = 0.5


class Traffic:
    """Calls of one version: so many a second at 100 %, of which a share fails, each taking so long."""

    def __init__(self, *, failing: float = 0.0, taking_s: float = 0.01) -> None:
        self.failing, self.taking_s = failing, taking_s

    def seen(self, calls: int, dice: random.Random) -> Seen:
        failed = sum(dice.random() < self.failing for _ in range(calls))
        buckets = [0] * (len(BOUNDS_S) + 1)
        buckets[next(i for i, bound in enumerate(BOUNDS_S) if self.taking_s <= bound)] = calls
        return Seen(calls, failed, buckets)


def rolled(
    plan: Plan, new: Traffic, old: Traffic, *, rate_per_s: float = 50.0, seed: int = 1
) -> tuple[Rollout, float, int]:
    """Return how a rollout ended, after how long, and how many calls of the new version failed."""
    dice = random.Random(seed)
    rollout = Rollout(namespace="n", function="f", base=1, target=2, plan=plan)
    total_s, failures = 0.0, 0
    while rollout.state == "running":
        spent_s, step = 0.0, Step("stay")
        counts = [Seen(0, 0, [0] * 25), Seen(0, 0, [0] * 25)]
        while step.move == "stay":
            spent_s += TICK_S
            part = rollout.percent / 100
            for index, (traffic, share) in enumerate(((new, part), (old, 1 - part))):
                more = traffic.seen(round(rate_per_s * TICK_S * share), dice)
                had = counts[index]
                counts[index] = Seen(
                    had.calls + more.calls,
                    had.failed + more.failed,
                    [a + b for a, b in zip(had.buckets, more.buckets, strict=True)],
                )
            step = decide(rollout, counts[0], counts[1], bounds_s=BOUNDS_S, spent_s=spent_s)
            assert spent_s < 3600, "no step lasts for ever"
        total_s += spent_s
        failures += counts[0].failed
        rollout = applied(rollout, step, int(total_s * 1e6))
    return rollout, total_s, failures


PLAN = Plan(steps=(5, 25, 50, 100), every_s=60, errors_max=0.02, latency_quantile=0.95, latency_max_s=0.3)


def test_a_good_version_gets_everything_step_by_step() -> None:
    ended, took_s, _ = rolled(PLAN, Traffic(failing=0.005), Traffic(failing=0.005))
    assert (ended.state, ended.percent) == ("done", 100)
    assert took_s == 4 * 60


def test_a_broken_version_is_rolled_back_within_its_first_step() -> None:
    ended, took_s, failures = rolled(PLAN, Traffic(failing=1.0), Traffic())
    assert (ended.state, ended.percent, ended.step) == ("rolled_back", 0, 0)
    assert took_s < 5
    assert failures < 20
    assert "calls failed (100.0 %, allowed are 2 %)" in ended.reason


def test_a_slow_version_is_rolled_back_for_its_latency() -> None:
    ended, took_s, _ = rolled(PLAN, Traffic(taking_s=0.9), Traffic())
    assert (ended.state, ended.step) == ("rolled_back", 0)
    assert took_s < 30
    assert "p95 is" in ended.reason
    assert "allowed are 300 ms" in ended.reason


def test_a_version_a_little_worse_than_allowed_does_not_get_through() -> None:
    states = {rolled(PLAN, Traffic(failing=0.05), Traffic(failing=0.001), seed=seed)[0].state for seed in range(20)}
    assert states == {"rolled_back"}


def test_what_fails_in_both_versions_waits_and_is_rolled_back_in_the_end() -> None:
    ended, took_s, _ = rolled(PLAN, Traffic(failing=0.3), Traffic(failing=0.6))
    assert ended.state == "rolled_back"
    assert took_s >= 10 * 60
    assert "of the old version" in ended.reason


def test_without_calls_time_alone_decides_unless_calls_are_asked_for() -> None:
    assert rolled(PLAN, Traffic(), Traffic(), rate_per_s=0)[0].state == "done"
    ended, took_s, _ = rolled(replace(PLAN, calls_min=10), Traffic(), Traffic(), rate_per_s=0)
    assert ended.state == "rolled_back"
    assert took_s == 10 * 60
    assert "0 calls in this step, 10 are asked for" in ended.reason


def test_what_is_not_watched_stops_nothing() -> None:
    blind = Plan(steps=(50, 100), every_s=10)
    assert rolled(blind, Traffic(failing=1.0, taking_s=9.0), Traffic())[0].state == "done"


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_least_share_is_below_the_seen_one_and_grows_with_it(failed: int, calls: int) -> None:
    failed = min(failed, calls)
    assert 0 <= least(failed, calls) <= failed / calls + 1e-9
    assert least(failed, calls) <= least(min(failed + 1, calls), calls) + 1e-9


@given(st.lists(st.integers(0, 50), min_size=25, max_size=25), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_its_bucket_and_grows(buckets: list[int], share: float) -> None:
    marks = [quantile(buckets, BOUNDS_S, one) for one in (share / 2, share)]
    assert all(low <= high for low, high in pairwise(marks))
    below = sum(count for bound, count in zip(BOUNDS_S, buckets, strict=False) if bound <= marks[1])
    assert below <= share * sum(buckets) + max(buckets) + 1e-9
