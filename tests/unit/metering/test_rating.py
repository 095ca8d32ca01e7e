"""What a run costs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wispd.metering.rating import PriceList, billed_ms, mib_ms, rate

GIB = 1 << 30


def test_milliseconds_are_rounded_up() -> None:
    assert [billed_ms(ns) for ns in (0, 1, 1_000_000, 1_000_001)] == [0, 1, 1, 2]


def test_a_million_calls_of_a_second_at_a_gibibyte() -> None:
    bill = rate(1_000_000, 1_000_000 * mib_ms(1_000_000_000, GIB))
    assert (bill.calls, bill.gib_s, bill.cost_micro) == (1_000_000, 1_000_000.0, 16_866_700)


def test_nothing_costs_nothing() -> None:
    assert rate(0, 0).cost_micro == 0
    assert rate(1000, 5_000_000, PriceList(call_pico=0, gib_s_pico=0)).cost_micro == 0


@given(st.lists(st.integers(0, 900_000_000_000), min_size=100, max_size=100), st.integers(1, 4 * GIB))
def test_one_instance_a_hundred_calls_costs_what_a_hundred_instances_one_call_cost(
    runs_ns: list[int], memory_bytes: int
) -> None:
    one = rate(100, sum(mib_ms(run_ns, memory_bytes) for run_ns in runs_ns))
    hundred = [rate(1, mib_ms(run_ns, memory_bytes)) for run_ns in reversed(runs_ns)]
    assert abs(one.cost_micro - sum(bill.cost_micro for bill in hundred)) <= 50  # a hundred roundings of half a unit
    per_minute = rate(100, sum(mib_ms(run_ns, memory_bytes) for run_ns in reversed(runs_ns)))
    assert one == per_minute
