"""Series from profiles: every step, percentiles that are near, sums that are exact."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wispd.api.admin_statistics import StatisticsQuery, steps
from wispd.base.errors import Fault
from wispd.metering.rating import PriceList
from wispd.metering.statistics import series
from wispd.model.profile import PROFILE_SUMS, Profile, bucket_of, middle_ns, percentile_ns

NOW_US = 1_790_000_000_000_000


def profile(*runs_ms: float, **sums: int) -> Profile:
    made = Profile()
    for run_ms in runs_ms:
        bucket = bucket_of(int(run_ms * 1e6))
        made.run[bucket] = made.run.get(bucket, 0) + 1
    for name, value in {"calls": len(runs_ms), "run_ns": int(sum(runs_ms) * 1e6), **sums}.items():
        made.sums[PROFILE_SUMS.index(name)] = value
    return made


@given(st.integers(0, 12 * 3600 * 10**9))
def test_a_bucket_is_at_most_three_percent_wide_from_its_middle(duration_ns: int) -> None:
    middle = middle_ns(bucket_of(duration_ns))
    assert abs(middle - duration_ns) <= max(1024, 0.032 * duration_ns)


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_are_near_whatever_the_distribution(runs_ns: list[int], share: float) -> None:
    buckets: dict[int, int] = {}
    for run_ns in runs_ns:
        buckets[bucket_of(run_ns)] = buckets.get(bucket_of(run_ns), 0) + 1
    exact = sorted(runs_ns)[math.ceil(share * len(runs_ns)) - 1]
    assert abs(percentile_ns(buckets, share) - exact) <= max(1024, 0.033 * exact)


def test_every_step_is_there_and_the_total_is_their_sum() -> None:
    found = [(60, profile(1, 2, failed=1)), (90, profile(3)), (240, profile(100, cold=1, retries=1, refused=4))]
    points, total = series(found, first_s=0, last_s=300, step_s=60, prices=PriceList(call_pico=700_000))
    assert [point.calls for point in points] == [0, 3, 0, 0, 1]
    assert (total.calls, total.errors, total.error_rate, total.cold, total.retries, total.refused) == (
        4,
        1,
        0.25,
        1,
        1,
        4,
    )
    assert total.cost_micro == sum(point.cost_micro for point in points) == 3
    assert points[1].run_p50_ms == pytest.approx(2, rel=0.04)
    assert total.run_p99_ms == pytest.approx(100, rel=0.04)
    assert points[0].start == "1970-01-01T00:00:00Z"


def test_percentiles_of_merged_profiles_are_not_means_of_percentiles() -> None:
    found = [(0, profile(*[1] * 99)), (60, profile(1000))]
    _, total = series(found, first_s=0, last_s=120, step_s=60, prices=PriceList())
    assert total.run_p95_ms == pytest.approx(1, rel=0.04)


@pytest.mark.parametrize(
    ("since", "step"),
    [("24h", "30s"), ("24h", "90s"), ("30d", "5m"), ("6d", "1m"), ("24h", "x"), ("2099-01-01T00:00:00Z", "1h")],
)
def test_steps_that_can_not_be(since: str, step: str) -> None:
    with pytest.raises(Fault) as caught:
        steps(StatisticsQuery(since=since, step=step), NOW_US)
    assert caught.value.code == "invalid_argument"


def test_steps_are_whole_and_include_now() -> None:
    first_s, last_s, step_s = steps(StatisticsQuery(since="24h", step="1h"), NOW_US)
    assert (first_s % 3600, last_s % 3600, step_s) == (0, 0, 3600)
    assert first_s <= NOW_US // 10**6 - 86_400 < first_s + 3600
    assert last_s - 3600 <= NOW_US // 10**6 < last_s
