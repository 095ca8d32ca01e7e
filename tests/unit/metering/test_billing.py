"""Bills: exact, additive, and with the free tier where it belongs."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from wispd.metering.billing import bill, free_shares
from wispd.metering.keeping import kept_idle, kept_mib_ms
from wispd.metering.periods import day_of, end_of, month_end, month_start, month_text
from wispd.metering.rating import MONTH_S, PriceList, Quantities, apportion, charge, micro
from wispd.model.usage import Used

GIB = 1 << 30
NOVEMBER = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) // 60


def used(
    calls: int = 0, mib_ms: int = 0, *, minute: int = NOVEMBER, function: str = "f", namespace: str = "n", **more: int
) -> Used:
    sums = (calls, 0, 0, 0, mib_ms, 0, 0, more.get("bytes_out", 0), 0, more.get("warm", 0))
    return Used(namespace, minute, function, 0, sums)


rows = st.lists(
    st.builds(
        used,
        st.integers(0, 10**7),
        st.integers(0, 10**12),
        minute=st.integers(0, 90).map(lambda day: NOVEMBER + day * 1440),
        function=st.sampled_from("abc"),
        namespace=st.sampled_from("nm"),
        bytes_out=st.integers(0, 10**12),
        warm=st.integers(0, 10**10),
    ),
    max_size=60,
)
prices = st.builds(
    PriceList,
    call_pico=st.integers(0, 10**7),
    gib_s_pico=st.integers(0, 10**9),
    free_calls=st.integers(0, 10**8),
    free_gib_s=st.integers(0, 10**7),
)


@given(rows, prices, st.booleans())
def test_the_parts_of_a_bill_are_the_whole(found: list[Used], price_list: PriceList, stepped: bool) -> None:
    made = bill(found, {}, price_list, stepped=stepped)
    for name in ("list_micro", "free_micro", "cost_micro", "calls", "mib_ms", "bytes_out"):
        assert sum(getattr(item, name) for item in made.items) == getattr(made.total, name)
    for item in made.items:
        assert item.list_micro == item.free_micro + item.cost_micro
        assert min(item.free_micro, item.cost_micro) >= 0
    by_function = bill(
        [msgspec.structs.replace(one, minute=one.minute) for one in found], {}, price_list, stepped=False
    )
    assert by_function.total.cost_micro == made.total.cost_micro  # however it is cut


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_apportioned_parts_add_up(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)
    assert sum(parts) == total
    assert min(parts) >= 0
    if sum(weights):
        assert all(abs(part - total * weight / sum(weights)) < 1 for part, weight in zip(parts, weights, strict=True))


def test_every_price_of_the_list_is_charged() -> None:
    price_list = PriceList()
    for quantities, wanted in (
        (Quantities(calls=1_000_000), 200_000),
        (Quantities(mib_ms=1024 * 1000 * 1_000_000), 16_666_700),
        (Quantities(warm_mib_ms=1024 * 1000 * 1_000_000), 4_166_700),
        (Quantities(bytes_out=GIB), 90_000),
        (Quantities(operations=1_000_000), 400_000),
        (Quantities(stored_byte_s=GIB * MONTH_S), 23_000),
    ):
        assert micro(charge(quantities, price_list)) == wanted
    assert charge(Quantities(), price_list) == 0


def test_the_free_tier_is_used_up_in_the_order_of_time_and_split_within_a_period() -> None:
    price_list = PriceList(free_calls=100)
    days = [used(60), used(90, minute=NOVEMBER + 1440), used(30, minute=NOVEMBER + 1440, function="g")]
    shares = [calls for calls, _ in free_shares(days, {}, price_list)]
    assert shares == [60, 30, 10]
    assert [calls for calls, _ in free_shares(days, {("n", NOVEMBER // 1440): (90, 0)}, price_list)] == [10, 0, 0]


def test_every_namespace_and_month_has_a_free_tier_of_its_own() -> None:
    price_list = PriceList(free_calls=100)
    found = [used(100), used(100, namespace="m"), used(100, minute=NOVEMBER + 30 * 1440)]
    assert bill(found, {}, price_list, stepped=False).total.cost_micro == 0
    assert bill(found, {}, PriceList(), stepped=False).total.cost_micro == 60


def test_months_and_days_are_utc() -> None:
    day = day_of(int(datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp() * 1e6))
    assert month_text(day) == "2026-12"
    assert month_text(month_end(day)) == "2027-01"
    assert month_start(month_end(day)) == day + 1
    assert (end_of("day", day), end_of("month", day)) == (day + 1, day + 1)


def test_only_idle_instances_that_are_kept_cost() -> None:
    assert kept_idle(minimum=0, ready=5, busy=0) == 0
    assert kept_idle(minimum=2, ready=5, busy=0) == 2
    assert kept_idle(minimum=2, ready=5, busy=1) == 1
    assert kept_idle(minimum=2, ready=1, busy=3) == 0
    assert kept_mib_ms(2, memory_bytes=256 << 20, elapsed_ns=1_000_400_000) == 2 * 256 * 1000
