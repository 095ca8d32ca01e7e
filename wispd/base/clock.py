"""The only place that asks the time. Tests hand in a `VirtualClock` instead."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic and wall time in integer nanoseconds."""

    def monotonic_ns(self) -> int: ...

    def unix_ns(self) -> int: ...


class SystemClock:
    """CLOCK_MONOTONIC (shared by all processes of the host) and the wall clock."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    unix_ns = staticmethod(time.time_ns)


class VirtualClock:
    """Time that moves only when told."""

    def __init__(self, start_unix_ns: int = 1_750_000_000_000_000_000) -> None:
        self._now = 0
        self._start = start_unix_ns

    def monotonic_ns(self) -> int:
        return self._now

    def unix_ns(self) -> int:
        return self._start + self._now

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        if seconds < 0:
            raise ValueError(f"time can't go back: {seconds} s")
        self._now += int(seconds * 1_000_000_000)
