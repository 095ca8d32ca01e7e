"""What `wisp top` and `wisp stats` draw from."""

from __future__ import annotations

from typing import Any

import pytest

from wispd.cli.amounts import money, parsed_micro, parsed_shares
from wispd.cli.statistics import sparkline
from wispd.cli.top import pictured, quantile_ms

BUCKETS = [0] * 25


def look(time_s: float, calls: int, errors: int = 0, elapsed: dict[int, int] | None = None) -> dict[str, Any]:
    counts = [(elapsed or {}).get(index, 0) for index in range(25)]
    function = {
        "namespace": "default",
        "name": "f",
        "calls": calls,
        "errors": errors,
        "elapsed": counts,
        "instances": {"ready": 1, "busy": 0, "starting": 0},
        "waiting": 0,
        "memory_bytes": 0,
    }
    return {"time_ns": int(time_s * 1e9), "node": {}, "functions": [function]}


def test_rates_are_of_the_time_between_two_looks() -> None:
    picture = pictured(look(10, 100, 5, {3: 100}), look(12, 300, 15, {3: 100, 5: 200}))
    (row,) = picture["functions"]
    assert (row["calls_per_s"], row["errors_per_s"]) == (100.0, 5.0)
    assert 0.8 <= row["p50_ms"] <= 1.6
    assert picture["node"]["calls_per_s"] == 100.0


def test_a_gateway_that_began_anew_counts_from_nothing() -> None:
    (row,) = pictured(look(10, 5000), look(11, 10, elapsed={1: 10}))["functions"]
    assert row["calls_per_s"] == 10.0


def test_a_function_that_was_not_there_has_no_rate_yet() -> None:
    before = look(10, 0)
    before["functions"] = []
    (row,) = pictured(before, look(11, 999))["functions"]
    assert row["calls_per_s"] == 0.0


def test_quantiles() -> None:
    assert quantile_ms(BUCKETS, 0.5) == 0.0
    assert quantile_ms([4, 0, 0], 0.5) == 0.025
    assert quantile_ms([0, 0, 1], 1.0) == 0.2


def test_sparklines() -> None:
    assert sparkline([0, 1, 8]) == "·▂█"
    assert sparkline([0, 0]) == "··"
    assert sparkline([]) == ""


def test_money_is_written_and_read_back() -> None:
    for text, micro in (("5.00", 5_000_000), ("0.25", 250_000), ("0.000001", 1), ("1.234567", 1_234_567)):
        assert money(micro) == text
        assert parsed_micro(text) == micro
    assert money(-1_500_000, "EUR") == "-1.50 EUR"
    for wrong in ("", "x", "-1", "nan", "1e30", "0.0000001"):
        with pytest.raises(Exception, match=r"amount|decimals"):
            parsed_micro(wrong)
    assert parsed_shares("50%, 80") == [50, 80]
    for wrong in ("0", "101", "x%"):
        with pytest.raises(Exception, match="per cents"):
            parsed_shares(wrong)
