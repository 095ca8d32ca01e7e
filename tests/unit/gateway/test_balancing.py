"""Where an event goes, and when a head is overdue: the pure rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wispd.gateway.balancing import (
    DEPTH_MAX,
    OVERRUN_NS,
    QUEUE_AHEAD_NS,
    STARVED_MAX_NS,
    Choice,
    choose,
    is_overdue,
    smooth,
    warm_target,
)

counts = st.integers(0, 200)


@given(st.integers(0, 10**9), counts, counts, counts, st.integers(-1, 200))
def test_no_event_queues_where_it_would_wait_over_a_millisecond(
    estimate_ns: int, warm: int, busy: int, idle: int, ahead: int
) -> None:
    choice = choose(estimate_ns=estimate_ns, warm=warm, busy=busy, idle=idle, ahead=ahead)
    if choice is Choice.AHEAD:
        assert 0 < estimate_ns <= QUEUE_AHEAD_NS
        assert ahead * estimate_ns <= QUEUE_AHEAD_NS
        assert ahead < DEPTH_MAX
    if choice is Choice.IDLE:
        assert idle
    if choice is Choice.WAIT:
        assert not idle


def test_without_an_estimate_one_event_has_one_instance() -> None:
    assert choose(estimate_ns=0, warm=1, busy=1, idle=0, ahead=0) is Choice.WAIT
    assert choose(estimate_ns=QUEUE_AHEAD_NS + 1, warm=1, busy=1, idle=0, ahead=0) is Choice.WAIT
    assert choose(estimate_ns=QUEUE_AHEAD_NS, warm=1, busy=1, idle=0, ahead=1) is Choice.AHEAD


def test_idle_instances_beyond_the_warm_target_are_left_to_end() -> None:
    assert choose(estimate_ns=10_000, warm=2, busy=1, idle=5, ahead=1) is Choice.IDLE
    assert choose(estimate_ns=10_000, warm=1, busy=1, idle=5, ahead=1) is Choice.AHEAD
    assert choose(estimate_ns=10_000, warm=1, busy=1, idle=5, ahead=-1) is Choice.IDLE


@given(st.floats(0, 1e6), st.integers(0, 10**9))
def test_the_warm_target_is_at_least_one_and_grows(rate_per_s: float, estimate_ns: int) -> None:
    assert warm_target(rate_per_s, estimate_ns) >= 1
    assert warm_target(rate_per_s * 2, estimate_ns) >= warm_target(rate_per_s, estimate_ns)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_the_smoothed_time_stays_between_the_extremes(runs: list[int]) -> None:
    estimate = 0
    for run in runs:
        estimate = smooth(estimate, run)
    assert max(1, min(runs)) - 1 <= estimate <= max(1, *runs)


def test_a_head_that_only_waits_for_a_cpu_is_not_overdue_until_ten_milliseconds() -> None:
    late = OVERRUN_NS + 1
    assert is_overdue(running_ns=late, estimate_ns=1000, looked_ns=2_000_000, starved_ns=0)
    assert not is_overdue(running_ns=late, estimate_ns=1000, looked_ns=2_000_000, starved_ns=1_500_000)
    beyond = STARVED_MAX_NS + 1
    assert is_overdue(running_ns=beyond, estimate_ns=1000, looked_ns=2_000_000, starved_ns=2_000_000)
    assert not is_overdue(running_ns=late, estimate_ns=OVERRUN_NS, looked_ns=2_000_000, starved_ns=0)
