"""When a dead process is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wispd.app.restarts import DELAYS_S, STEADY_S, History, after_death


def test_the_first_restart_is_at_once() -> None:
    assert after_death(History(), 3600) == (History(1, 1), 0.0)


def test_one_that_dies_again_and_again_waits_longer_up_to_a_limit() -> None:
    history, delays = History(), []
    for _ in range(10):
        history, delay_s = after_death(history, 0.1)
        delays.append(delay_s)
    assert delays == [*DELAYS_S, *[DELAYS_S[-1]] * 3]
    assert history.restarts == 10


def test_one_that_lived_long_starts_from_the_first_delay_again() -> None:
    history, _ = after_death(History(6, 6), STEADY_S)
    assert history == History(1, 7)


@given(st.lists(st.floats(0, 1000), max_size=50))
def test_two_quick_deaths_are_healed_within_two_seconds(lives: list[float]) -> None:
    history, row = History(), 0
    for lived_s in lives:
        history, delay_s = after_death(history, lived_s)
        row = 1 if lived_s >= STEADY_S else row + 1
        assert 0 <= delay_s <= DELAYS_S[-1]
        assert row > 2 or delay_s < 0.5
