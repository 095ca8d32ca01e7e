"""From profiles to a series: every step there is, percentiles from merged histograms, costs that add up. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wispd.metering.billing import rounded
from wispd.metering.rating import PriceList, Quantities, charge
from wispd.model.profile import Profile, percentile_ns
from wispd.model.record import time_text
from wispd.model.statistics import Point

STEPS_MAX: Final = 1000


def series(
    found: Iterable[tuple[int, Profile]], *, first_s: int, last_s: int, step_s: int, prices: PriceList
) -> tuple[list[Point], Point]:
    """Return a point for each step from `first_s` to before `last_s` (Unix), and the total.

    `found`: (Unix s, profile) in any order; a step may have several.
    """
    steps = {start: Profile() for start in range(first_s, last_s, step_s)}
    whole = Profile()
    for at_s, profile in found:
        start = at_s - (at_s - first_s) % step_s
        if start in steps:
            steps[start].add(profile)
    for profile in steps.values():
        whole.add(profile)
    costs = rounded([cost_atoms(profile, prices) for profile in steps.values()])
    points = [_point(start, profile, cost) for (start, profile), cost in zip(steps.items(), costs, strict=True)]
    return points, _point(first_s, whole, sum(costs))


def cost_atoms(profile: Profile, prices: PriceList) -> int:
    """Return what a profile's calls cost."""
    used = Quantities(
        calls=profile["calls"],
        mib_ms=profile["mib_ms"],
        warm_mib_ms=profile["warm_mib_ms"],
        bytes_out=profile["bytes_out"],
    )
    return charge(used, prices)


def _point(start_s: int, profile: Profile, cost_micro: int) -> Point:
    calls = profile["calls"]
    times = {}
    for name, buckets in (("run", profile.run), ("delay", profile.delay)):
        times[f"{name}_mean_ms"] = round(profile[f"{name}_ns"] / calls / 1e6, 3) if calls else 0.0
        for share in (50, 95, 99):
            times[f"{name}_p{share}_ms"] = round(percentile_ns(buckets, share / 100) / 1e6, 3)
    return Point(
        start=time_text(start_s * 1_000_000)[:19] + "Z",
        calls=calls,
        errors=profile["failed"],
        error_rate=round(profile["failed"] / calls, 6) if calls else 0.0,
        refused=profile["refused"],
        cold=profile["cold"],
        retries=profile["retries"],
        peak_bytes=profile.peak_bytes,
        cost_micro=cost_micro,
        **times,
    )
