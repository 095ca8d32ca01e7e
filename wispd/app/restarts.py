"""When to start a process that died again. Pure.

The first restart is at once (a kill must heal within two seconds); a process that keeps dying waits longer each time.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

FIRST_S: Final = 0.1
LONGEST_S: Final = 5.0
STEADY_S: Final = 20.0  # one that ran this long starts with a clean sheet


class History(Struct, frozen=True):
    """Deaths in a row, and when the process was last started (CLOCK_MONOTONIC ns)."""

    deaths: int = 0
    started_ns: int = 0


def died(history: History, now_ns: int) -> tuple[History, float]:
    """Return the new history and after how many seconds to start again."""
    steady = now_ns - history.started_ns >= STEADY_S * 1e9
    deaths = 0 if steady else history.deaths
    delay_s = 0.0 if deaths == 0 else min(FIRST_S * 2 ** (deaths - 1), LONGEST_S)
    return History(deaths + 1, history.started_ns), delay_s
