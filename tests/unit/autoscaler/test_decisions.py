"""The autoscaler's pure decisions, one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wispd.autoscaler.budget import evictions
from wispd.autoscaler.keepalive import expired
from wispd.autoscaler.prewarm import KEPT_S, USUAL, Kind, kind_of, members, unused
from wispd.autoscaler.scaling import BACKOFF_MAX_S, BURST_MAX, Backoff, failed, starts
from wispd.model.function import Version
from wispd.ports.demand import Demand, IdleInstance

counts = st.integers(0, 2000)
demands = st.builds(
    Demand,
    waiting=counts,
    busy=counts,
    ready=counts,
    starting=counts,
    hot=counts,
    spare=counts,
    minimum=st.integers(0, 50),
    maximum=st.integers(0, 2000),
)
idles = st.lists(
    st.builds(
        IdleInstance, instance=st.integers(1), idle_since_ns=st.integers(0, 10**9), bytes=st.integers(0, 2**30)
    ),
    unique_by=lambda one: one.instance,
    max_size=30,
)


@given(demands, st.integers(1, 100))
def test_starts_stay_within_the_maximum_and_the_burst(demand: Demand, concurrency: int) -> None:
    count = starts(demand, concurrency=concurrency, now_ns=0, backoff=Backoff())
    assert 0 <= count <= BURST_MAX
    assert count == 0 or demand.ready + demand.starting + count <= demand.maximum


@given(demands)
def test_nothing_waits_nothing_starts(demand: Demand) -> None:
    still = Demand(
        waiting=0, busy=0, ready=demand.ready, starting=demand.starting, hot=0, spare=0, minimum=0, maximum=1000
    )
    assert starts(still, concurrency=1, now_ns=0, backoff=Backoff()) == 0


@given(st.integers(1, 200))
def test_one_waiting_event_one_instance(waiting: int) -> None:
    demand = Demand(waiting=waiting, busy=0, ready=0, starting=0, hot=0, spare=0, minimum=0, maximum=1000)
    assert starts(demand, concurrency=1, now_ns=0, backoff=Backoff()) == waiting
    assert starts(demand, concurrency=64, now_ns=0, backoff=Backoff()) == -(-waiting // 64)


def test_back_off_doubles_to_its_maximum_and_lets_one_probe_through() -> None:
    backoff, delays, now = Backoff(), [], 0
    for _ in range(10):
        backoff = failed(backoff, now)
        delays.append((backoff.until_ns - now) / 1e9)
    assert delays[:3] == [0.1, 0.2, 0.4]
    assert delays[-1] == BACKOFF_MAX_S
    demand = Demand(waiting=50, busy=0, ready=0, starting=0, hot=0, spare=0, minimum=0, maximum=1000)
    assert starts(demand, concurrency=1, now_ns=backoff.until_ns - 1, backoff=backoff) == 0
    assert starts(demand, concurrency=1, now_ns=backoff.until_ns, backoff=backoff) == 1


@given(idles, st.integers(0, 30), st.integers(0, 10**9))
def test_idle_ends_never_go_below_the_minimum(idle: list[IdleInstance], minimum: int, idle_ns: int) -> None:
    demand = Demand(waiting=0, busy=0, ready=len(idle), starting=0, hot=0, spare=0, minimum=minimum, maximum=1000)
    ended = expired(idle, demand, idle_ns=idle_ns, retired=False, now_ns=10**9)
    assert len(idle) - len(ended) >= min(minimum, len(idle))
    assert all(10**9 - one.idle_since_ns >= idle_ns for one in idle if one.instance in ended)


@given(idles, st.integers(0, 2**32), st.integers(0, 2**33), st.integers(0, 2**33))
def test_evictions_make_exactly_enough_room(idle: list[IdleInstance], need: int, reserved: int, budget: int) -> None:
    chosen = evictions(need, reserved_bytes=reserved, budget_bytes=budget, idle=idle)
    sizes = {one.instance: one.bytes for one in idle}
    if chosen is None:
        assert reserved + need - sum(sizes.values()) > budget
    else:
        freed = [sizes[number] for number in chosen]
        assert reserved + need - sum(freed) <= budget
        assert not chosen or reserved + need - sum(freed[:-1]) > budget, "one less would not do"


def test_kinds_are_kept_while_used_and_layers_are_apart_by_namespace() -> None:
    version = Version(id="v", namespace="a", function="f", number=1, code="0" * 64, handler="h", layer="1" * 64)
    kind = kind_of(version)
    assert kind == Kind("python3", "1" * 64, "a", "egress")
    assert (members(USUAL, 8), members(kind, 8), members(kind, 0)) == (8, 2, 0)
    late = int(KEPT_S * 1e9) + 1
    assert unused({USUAL: 0, kind: 0}, late) == [kind]
