"""What a rollout does next. Pure: a function of its state, of what both versions did in this step, and of time.

Stopped early when it is almost certain that too many calls fail, at a step's end when they do; never for failures
that the old version has as well: then the step waits, and a rollout that waits too long is rolled back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from wispd.model.rollout import Plan, Rollout

ERRORS_EARLY: Final = 3  # failures before a step is ended early
LATENCY_CALLS: Final = 20  # durations before they are judged
WAITS_MAX: Final = 10  # steps that one step may take in all
_Z: Final = 2.576  # 99 % sure

Move = Literal["stay", "advance", "finish", "roll_back"]


class Seen(NamedTuple):
    """What one version did within a step. `buckets` count durations: the upper bounds are `bounds_s`."""

    calls: int = 0
    failed: int = 0
    buckets: Sequence[int] = ()


class Step(NamedTuple):
    """What to do, and why."""

    move: Move
    reason: str = ""


STAY: Final = Step("stay")


def decide(rollout: Rollout, new: Seen, old: Seen, *, bounds_s: Sequence[float], spent_s: float) -> Step:
    """Return what to do with a running rollout, `spent_s` after its present step began."""
    plan = rollout.plan
    over = spent_s >= plan.every_s
    errors = _errors(plan, new, old, over=over)
    latency = _latency(plan, new, old, bounds_s)
    late = spent_s >= WAITS_MAX * plan.every_s
    for found in (errors, latency):
        if found.move == "roll_back":
            return found
    waits = [found.reason for found in (errors, latency) if found.reason]
    if new.calls < plan.calls_min:
        waits.append(f"{new.calls} calls in this step, {plan.calls_min} are asked for")
    if waits and late:
        return Step("roll_back", f"after {spent_s:.0f} s in one step: {waits[0]}")
    if waits or not over:
        return Step("stay", waits[0] if waits else "")
    return Step("finish" if rollout.step + 1 == len(plan.steps) else "advance")


def applied(rollout: Rollout, step: Step, now_us: int) -> Rollout:
    """Return the rollout after a move."""
    change = msgspec.structs.replace
    if step.move == "advance":
        return change(rollout, step=rollout.step + 1, updated_us=now_us)
    if step.move == "finish":
        return change(rollout, state="done", updated_us=now_us)
    if step.move == "roll_back":
        return change(rollout, state="rolled_back", reason=step.reason, updated_us=now_us)
    return rollout


def _errors(plan: Plan, new: Seen, old: Seen, *, over: bool) -> Step:
    if plan.errors_max < 0 or not new.failed:
        return STAY
    rate, before = new.failed / new.calls, old.failed / old.calls if old.calls else 0.0
    text = f"{new.failed} of {new.calls} calls failed ({100 * rate:.1f} %, allowed are {100 * plan.errors_max:g} %)"
    sure = new.failed >= ERRORS_EARLY and least(new.failed, new.calls) > plan.errors_max
    if rate <= plan.errors_max or not (over or sure):
        return STAY
    if rate <= before:
        return Step("stay", f"{text}, but of the old version {100 * before:.1f} %")
    return Step("roll_back", text)


def _latency(plan: Plan, new: Seen, old: Seen, bounds_s: Sequence[float]) -> Step:
    if not plan.latency_quantile or new.calls < LATENCY_CALLS:
        return STAY
    found = quantile(new.buckets, bounds_s, plan.latency_quantile)
    if found <= plan.latency_max_s:
        return STAY
    name = f"p{100 * plan.latency_quantile:g}"
    text = f"{name} is {1000 * found:.0f} ms over {new.calls} calls, allowed are {1000 * plan.latency_max_s:g} ms"
    if old.calls >= LATENCY_CALLS and found <= quantile(old.buckets, bounds_s, plan.latency_quantile):
        return Step("stay", f"{text}, but the old version is as slow")
    return Step("roll_back", text)


def least(failed: int, calls: int) -> float:
    """Return the share of failures that is at least to be expected. Source: Wilson 1927, the lower bound."""
    if not calls:
        return 0.0
    share, square = failed / calls, _Z * _Z
    spread = _Z * math.sqrt(share * (1 - share) / calls + square / (4 * calls * calls))
    return max(0.0, (share + square / (2 * calls) - spread) / (1 + square / calls))


def quantile(buckets: Sequence[int], bounds_s: Sequence[float], share: float) -> float:
    """Return the duration that `share` of all stay below, straight within a bucket; infinite above the last bound."""
    rank = share * sum(buckets)
    low, seen = 0.0, 0
    for bound, count in zip(bounds_s, buckets, strict=False):
        if count and seen + count >= rank:
            return low + (bound - low) * (rank - seen) / count
        seen += count
        low = bound
    return math.inf if sum(buckets) > seen else low
