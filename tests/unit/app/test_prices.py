"""The price list of `wisp-node.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from wispd.app.settings import Prices, load, price_list
from wispd.base.errors import Fault
from wispd.metering.rating import PriceList


def test_prices_are_read_exactly(tmp_path: Path) -> None:
    assert price_list(Prices()) == PriceList()
    (tmp_path / "wisp-node.toml").write_text(
        '[prices]\ncurrency = "EUR"\nmillion_calls = 0.4\ngb_second = "0.000000000001"\nwarm_gb_second = 0\n'
        "[prices.free]\ncalls = 10\n"
    )
    prices = price_list(load(str(tmp_path), {}).prices)
    assert (prices.currency, prices.call_pico, prices.gib_s_pico, prices.free_calls) == ("EUR", 400_000, 1, 10)
    assert prices.warm_gib_s_pico == 0


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('gb_second = "cheap"', "gb_second is 'cheap'"),
        ("egress_gb = -1", "egress_gb"),
        ('million_calls = "nan"', "million_calls"),
        ('million_calls = "1e99"', "million_calls"),
        ('currency = ""', "currency"),
        ("call = 1", "call"),
        ("free = { calls = -1 }", "free"),
    ],
)
def test_a_wrong_price_is_named(tmp_path: Path, line: str, named: str) -> None:
    (tmp_path / "wisp-node.toml").write_text(f"[prices]\n{line}\n")
    with pytest.raises(Fault) as caught:
        load(str(tmp_path), {})
    assert caught.value.code == "invalid_argument"
    assert named in caught.value.message
