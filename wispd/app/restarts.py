"""When to start a dead process again: pure decisions, no clock, no process.

The first restart is at once, because everything known must be served again within 2 s; a process that dies again and
again waits longer each time, so that a broken one does not eat the machine.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

DELAYS_S: Final = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
STEADY_S: Final = 10.0  # one that lived so long starts from the first delay again


class History(Struct, frozen=True):
    """What is remembered of a process's deaths."""

    deaths_in_a_row: int = 0
    restarts: int = 0


def after_death(history: History, lived_s: float) -> tuple[History, float]:
    """Return the history after a death and the seconds to wait before the next start."""
    row = 0 if lived_s >= STEADY_S else history.deaths_in_a_row
    delay_s = DELAYS_S[min(row, len(DELAYS_S) - 1)]
    return History(row + 1, history.restarts + 1), delay_s
