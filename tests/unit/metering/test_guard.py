"""Budgets on the path of a call: what is let in, what is refused, and how far spending can go."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spent import DAY_US, Spender, budget, version

from wispd.base.errors import Fault
from wispd.metering.budgets import Verdict, crossed, judge
from wispd.metering.periods import day_of
from wispd.model.budget import Quota


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


NOON = at("2026-11-15T12:00:00")


def test_a_call_is_let_in_while_the_most_it_can_cost_fits() -> None:
    spender = Spender(NOON, budget(5 * Spender.MOST))
    inside = [spender.enter() for _ in range(5)]
    assert not any(isinstance(one, Fault) for one in inside)
    refused = spender.enter()
    assert isinstance(refused, Fault)
    assert (refused.code, refused.http_status, refused.retry_after_s) == ("budget_exceeded", 429, 1.0)
    assert "running" in refused.message


def test_the_rest_is_used_up_one_call_at_a_time_and_then_nothing_is_let_in() -> None:
    spender = Spender(NOON, budget(100))  # far less than one call may cost
    first = spender.enter()
    assert not isinstance(first, Fault)
    assert isinstance(spender.enter(), Fault)  # what is left may be needed by the first
    spender.leave(first, 60)
    assert spender.call(39) is None
    assert spender.call(1) is None
    refused = spender.call(1)
    assert refused is not None
    assert refused.code == "budget_exceeded"
    assert refused.facts["resets"] == "2026-12-01T00:00:00Z"
    assert refused.retry_after_s == pytest.approx((at("2026-12-01") - NOON) / 1e6)
    assert spender.guard.states()[0].state == "stopped"


@given(
    limit=st.integers(0, 20_000),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, Spender.MOST)), max_size=200),
)
def test_spending_never_passes_the_limit_by_more_than_one_call(limit: int, steps: list[tuple[bool, int]]) -> None:
    spender = Spender(NOON, budget(limit))
    running = []
    for come, cost in steps:
        if come:
            one = spender.enter()
            if not isinstance(one, Fault):
                running.append(one)
        elif running:
            spender.leave(running.pop(cost % len(running)), cost)
    for one in running:
        spender.leave(one, Spender.MOST)
    assert spender.spent() <= limit + Spender.MOST
    assert spender.guard.states()[0].reserved_micro == 0
    if limit == 0:
        assert spender.spent() == 0


def test_without_reserving_the_limit_would_be_passed() -> None:
    """The negative control: what `judge` says when it does not see what is in flight."""
    limit, most, spent = 100, 40, 0
    running = [most for _ in range(50) if judge("stop", limit=limit, spent=0, reserved=0, need=most, turn=True) == 0]
    spent += sum(running)
    assert spent > limit + most


def test_throttle_lets_one_call_a_second_in_and_warn_lets_all_in() -> None:
    spender = Spender(NOON, budget(10, then="throttle"), budget(10, function="g", then="warn"))
    assert spender.call(10) is None
    refused = spender.call(1)
    assert refused is not None
    assert "one call a second" in refused.message
    spender.clock.advance(1)
    assert spender.call(1) is None
    assert all(spender.call(100, "g") is None for _ in range(20))
    assert [state.state for state in spender.guard.states()] == ["throttled", "over"]


def test_a_namespace_and_its_functions_have_budgets_of_their_own() -> None:
    spender = Spender(NOON, budget(100, function=""), budget(30))
    assert spender.call(30) is None
    assert spender.call(1) is not None  # the function's own
    assert spender.call(70, "g") is None
    refused = spender.call(1, "g")
    assert refused is not None
    assert "namespace 'n'" in refused.message
    assert spender.spent(0) == 100


def test_warnings_are_written_once_for_each_threshold() -> None:
    spender = Spender(NOON, budget(100, at=(50, 80)))
    for _ in range(10):
        spender.call(10)
    assert [line.split("has used ")[1][:5].strip() for line in spender.lines] == ["50 %", "80 %", "100 %"]
    assert crossed((50, 80), limit=100, before=40, after=90) == 80
    assert crossed((50, 80), limit=100, before=80, after=90) == 0


def test_a_day_and_a_month_begin_anew_at_midnight_utc() -> None:
    spender = Spender(at("2026-11-30T23:59:59"), budget(10), budget(10, period="day", function="g"))
    assert spender.call(10) is None
    assert spender.call(10, "g") is None
    assert spender.call(1) is not None
    assert spender.call(1, "g") is not None
    spender.clock.advance(1)
    assert spender.call(10) is None
    assert spender.call(10, "g") is None


def test_a_call_over_the_edge_is_paid_where_it_ends_and_reserved_on_both_sides() -> None:
    spender = Spender(at("2026-11-30T23:59:59"), budget(Spender.MOST))
    one = spender.enter()
    assert not isinstance(one, Fault)
    spender.clock.advance(2)
    assert isinstance(spender.enter(), Fault)  # December may still have to pay for it
    one.received_us += 2_000_000  # it ended two seconds later
    spender.leave(one, 500)
    assert spender.spent() == 500


def test_a_clock_that_is_set_back_finds_what_it_had_spent() -> None:
    spender = Spender(NOON, budget(10))
    assert spender.call(10) is None
    spender.clock.unix_us = at("2027-03-01T00:00:00")
    assert spender.call(10) is None
    spender.clock.unix_us = NOON
    assert spender.call(1) is not None
    spender.clock.unix_us = at("2026-05-01T00:00:00")  # before anything that was added up
    refused = spender.call(1)
    assert refused is not None
    assert refused.code == "unavailable"
    assert spender.guard.wanting
    spender.guard.fill(spender.history({("n", "f"): {day_of(spender.clock.unix_us): 9}}))
    assert spender.call(1) is None
    assert spender.call(1) is not None


def test_a_start_lets_nothing_in_before_the_sum_is_known() -> None:
    spender = Spender(NOON, budget(100), known=False)
    refused = spender.enter()
    assert isinstance(refused, Fault)
    assert (refused.code, refused.retry_after_s) == ("unavailable", 1.0)
    assert isinstance(spender.enter("without"), Fault) is False
    spender.guard.fill(spender.history({("n", "f"): {day_of(NOON): 60, day_of(NOON) - 40: 1000}}))
    assert spender.spent() == 60


def test_what_ends_while_sums_are_read_counts_once() -> None:
    spender = Spender(NOON, known=False)
    spender.guard.configure([budget(1000)], [])
    for cost in (1, 2, 4):  # a budget that was set while the node runs lets calls in
        assert spender.call(cost) is None
    # The sum reached the position behind the second call, and saw 16 that were spent before.
    spender.guard.fill(spender.history({("n", "f"): {day_of(NOON): 16 + 1 + 2}}, reached=(0, 200)))
    assert spender.spent() == 16 + 1 + 2 + 4


def test_sums_that_cannot_be_read_let_nothing_in() -> None:
    spender = Spender(NOON, known=False)
    spender.guard.configure([budget(1000)], [])
    spender.guard.close()
    assert isinstance(spender.enter(), Fault)


def test_a_changed_limit_keeps_what_was_spent_and_reserved() -> None:
    spender = Spender(NOON, budget(10))
    one = spender.enter()
    assert not isinstance(one, Fault)
    spender.guard.configure([budget(5000)], [])
    assert spender.guard.states()[0].reserved_micro == Spender.MOST
    spender.leave(one, 7)
    assert (spender.spent(), spender.guard.states()[0].reserved_micro) == (7, 0)
    spender.guard.configure([], [])
    assert not spender.guard.watched


def test_kept_instances_cost_and_are_let_go_when_the_budget_is_spent() -> None:
    spender = Spender(NOON, budget(10))
    assert not spender.guard.stopped(version())
    spender.call(10)
    assert spender.guard.stopped(version())
    assert not spender.guard.stopped(version("other"))


def test_calls_a_minute_are_counted_by_a_clock_that_cannot_jump() -> None:
    quota = Quota(namespace="n", calls_per_minute=2)
    spender = Spender(NOON, quotas=(quota,))
    spender.clock.advance(59)
    assert [spender.call(1) for _ in range(2)] == [None, None]
    refused = spender.call(1)
    assert refused is not None
    assert (refused.code, refused.http_status, refused.retry_after_s) == ("quota_exceeded", 429, 1.0)
    spender.clock.unix_us += 3600 * 1_000_000  # the wall clock jumps: no second helping
    assert spender.call(1) is not None
    spender.clock.advance(1)
    assert spender.call(1) is None


def test_a_quota_of_nothing_lets_nothing_in() -> None:
    spender = Spender(NOON, quotas=(Quota(namespace="n", calls_per_minute=0),))
    assert spender.call(1) is not None


def test_judge() -> None:
    full = {"limit": 10, "spent": 10, "reserved": 0, "need": 1, "turn": True}
    assert judge("stop", **full) is Verdict.SPENT  # type: ignore[arg-type]
    assert judge("throttle", **full) is Verdict.ADMIT  # type: ignore[arg-type]
    assert judge("throttle", **(full | {"turn": False})) is Verdict.THROTTLED  # type: ignore[arg-type]
    assert judge("stop", limit=10, spent=9, reserved=1, need=1, turn=True) is Verdict.RESERVED


def test_a_month_of_calls_with_jumps_of_the_clock_stays_within_its_budgets() -> None:
    """Thirty-five days, a call every ten minutes, restarts, jumps: no period is passed by more than a call."""
    monthly, daily = 40_000, 3_000
    spender = Spender(at("2026-11-20T00:00:00"), budget(monthly), budget(daily, period="day"))
    paid: dict[int, int] = {}
    for step in range(35 * 144):
        spender.clock.advance(600)
        if step % 997 == 0:
            spender.clock.unix_us += (DAY_US * 2, -DAY_US * 2)[step // 997 % 2]
        if step % 500 == 0:  # another gateway takes over: all it knows is what was recorded
            again = Spender(spender.clock.unix_us, budget(monthly), budget(daily, period="day"), known=False)
            again.guard.fill(again.history({("n", "f"): dict(paid)}))
            again.clock.now_ns = spender.clock.now_ns
            spender = again
        cost = 37 + step % 41
        if spender.call(cost) is None:
            day = day_of(spender.clock.unix_us)
            paid[day] = paid.get(day, 0) + cost
    months: dict[str, int] = {}
    for day, cost in paid.items():
        month = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m")
        months[month] = months.get(month, 0) + cost
        assert cost <= daily + 80
    assert max(months.values()) <= monthly + 80
    assert max(months.values()) > monthly - 80, "the budget was never reached: nothing was tested"
