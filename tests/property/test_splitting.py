"""Dividing calls: every version gets its share, and who is with a version whose weight grows stays with it."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from wispd.gateway.splitting import by_chance, by_value
from wispd.model.alias import Share

WEIGHTS = st.lists(st.integers(1, 1000), min_size=1, max_size=8)
VALUES = [f"caller-{number}".encode() for number in range(2000)]


def shares(weights: list[int]) -> list[Share]:
    return [Share(number, weight) for number, weight in enumerate(weights, 1)]


@given(WEIGHTS, st.floats(0, 1, exclude_max=True))
def test_a_point_falls_into_the_share_that_covers_it(weights: list[int], point: float) -> None:
    index = by_chance(shares(weights), point)
    low = sum(weights[:index]) / sum(weights)
    assert low - 1e-9 <= point <= low + weights[index] / sum(weights) + 1e-9


@settings(max_examples=25, deadline=None)
@given(WEIGHTS, st.binary(min_size=1, max_size=8))
def test_values_are_divided_by_weight(weights: list[int], salt: bytes) -> None:
    parts = shares(weights)
    counts = [0] * len(weights)
    for value in VALUES:
        counts[by_value(parts, value, salt=salt)] += 1
    for count, weight in zip(counts, weights, strict=True):
        share = weight / sum(weights)
        spread = 6 * math.sqrt(len(VALUES) * share * (1 - share)) + 1  # six standard deviations: 1 in 10⁹
        assert abs(count - share * len(VALUES)) <= spread


@settings(max_examples=50, deadline=None)
@given(WEIGHTS, st.data())
def test_a_growing_weight_loses_nobody(weights: list[int], data: st.DataObject) -> None:
    grown = data.draw(st.integers(0, len(weights) - 1))
    more = [*weights]
    more[grown] += data.draw(st.integers(1, 1000))
    before, after = shares(weights), shares(more)
    for value in VALUES[:300]:
        was, now = by_value(before, value), by_value(after, value)
        assert now in (was, grown), "a caller moves to the version that grew, or not at all"


@given(WEIGHTS, st.binary(max_size=2000), st.binary(max_size=64))
def test_the_same_value_is_always_the_same_version_whatever_the_order(
    weights: list[int], value: bytes, salt: bytes
) -> None:
    parts = shares(weights)
    chosen = parts[by_value(parts, value, salt=salt)]
    turned = parts[::-1]
    assert turned[by_value(turned, value, salt=salt)] == chosen
