"""What part of a run is billed: wall time less the time the instance waited for a CPU.

The kernel counts that wait (run delay) in /proc/<pid>/schedstat. Reading it costs half a microsecond, so it is read
only for runs above one millisecond; and it counts one thread, so multiplexed instances split their busy time instead.
"""

from __future__ import annotations

import os
from typing import Final

READ_ABOVE_NS: Final = 1_000_000


class RunDelay:
    """The run delay of one instance's main thread. Owns the descriptor."""

    __slots__ = ("_fd", "_seen_ns", "metered_ns")

    def __init__(self, schedstat_fd: int) -> None:
        self._fd = schedstat_fd
        self._seen_ns = 0
        self.metered_ns = 0  # of its CPU time, what the meter has seen

    def mark(self) -> None:
        """Remember the counter where a run begins on an idle instance."""
        self._seen_ns = self._read()

    def waited(self, run_ns: int) -> int:
        """Return the part of a run of `run_ns` that was spent waiting for a CPU, 0 for short runs."""
        if run_ns < READ_ABOVE_NS or self._fd < 0:
            return 0
        now_ns = self._read()
        waited = min(max(now_ns - self._seen_ns, 0), run_ns)
        self._seen_ns = now_ns
        return waited

    def total_ns(self) -> int:
        """Return all the time the main thread waited for a CPU."""
        return self._read()

    def cpu_ns(self) -> int:
        """Return the CPU time of the main thread so far."""
        return self._field(0)

    def newly_used_ns(self) -> int:
        """Return the CPU time of the main thread since this was last asked."""
        before, self.metered_ns = self.metered_ns, max(self._field(0), self.metered_ns)
        return self.metered_ns - before

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> int:
        return self._field(1)

    def _field(self, index: int) -> int:
        """Source: Documentation/scheduler/sched-stats.rst: CPU time ns, run delay ns, time slices."""
        if self._fd < 0:
            return 0
        try:
            return int(os.pread(self._fd, 64, 0).split()[index])
        except (OSError, IndexError, ValueError):  # the process is gone
            return 0


class BusyShare:
    """Split an instance's busy time equally among the events it carries at once.

    Each event is billed the integral of dt / (events in flight) over its stay, so the shares add up to the busy time.
    """

    __slots__ = ("_integral_ns", "_joined", "_last_ns")

    def __init__(self) -> None:
        self._integral_ns = 0.0
        self._last_ns = 0
        self._joined: dict[int, float] = {}

    def joined(self, number: int, now_ns: int, others: int) -> None:
        """An event arrives while `others` are in flight."""
        self._advance(now_ns, others)
        self._joined[number] = self._integral_ns

    def left(self, number: int, now_ns: int, inflight: int) -> int:
        """An event leaves; `inflight` counts it too. Return its share in nanoseconds."""
        self._advance(now_ns, inflight)
        return int(self._integral_ns - self._joined.pop(number, self._integral_ns))

    def _advance(self, now_ns: int, inflight: int) -> None:
        if inflight:
            self._integral_ns += (now_ns - self._last_ns) / inflight
        self._last_ns = now_ns
