"""Ids sort by time and are unique, whatever the wall clock does."""

from __future__ import annotations

import pytest

from wispd.base.clock import VirtualClock
from wispd.base.ids import from_text, id_source, to_text


class JumpingClock(VirtualClock):
    """A wall clock that can be set back."""

    offset_ns = 0

    def unix_ns(self) -> int:
        return super().unix_ns() + self.offset_ns


def test_ids_grow_while_the_clock_jumps_back_and_forth() -> None:
    clock = JumpingClock()
    make = id_source(clock)
    made = [make()]
    for jump_s in (-3600, 3600, -1, 0, -86_400):
        clock.offset_ns = jump_s * 1_000_000_000
        made += [make() for _ in range(100)]
        clock.advance(0.001)
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_two_sources_never_make_the_same() -> None:
    clock = VirtualClock()
    first, second = id_source(clock), id_source(clock)
    assert not {first() for _ in range(1000)} & {second() for _ in range(1000)}


def test_ids_are_version_7_uuids() -> None:
    raw = id_source(VirtualClock())()
    assert raw[6] >> 4 == 7
    assert raw[8] >> 6 == 0b10


@pytest.mark.parametrize("text", ["", "inv_", "inv_12", "fn_" + "0" * 32, "inv_" + "g" * 32, "inv_" + "0" * 33])
def test_what_is_no_id_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        from_text("inv", text)


def test_text_and_back() -> None:
    raw = id_source(VirtualClock())()
    assert from_text("inv", to_text("inv", raw)) == raw
