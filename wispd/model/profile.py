"""How a function performed in a minute or an hour: counts, sums, and two histograms. Merged, never sampled.

A histogram counts durations by a bucket whose width is a sixteenth of its power of two, so that a percentile read
from it is at most 3.2 % off, however many invocations it stands for. Source of the scheme: HdrHistogram.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNIT_NS: Final = 1024  # durations are counted in about a microsecond
_SUB_BITS: Final = 4
_LINEAR: Final = 2 << _SUB_BITS  # below it each number has a bucket of its own

PROFILE_SUMS: Final = (
    "calls",
    "failed",
    "cold",
    "retries",  # attempts after the first
    "refused",  # above a limit, before admission
    "run_ns",
    "delay_ns",  # queue and initialisation
    "wait_ns",  # run time that is not billed
    "mib_ms",
    "warm_mib_ms",
    "bytes_out",
)
Buckets = dict[int, int]  # bucket → count


class Profile:
    """One function's profile of one period."""

    __slots__ = ("delay", "peak_bytes", "run", "sums")

    def __init__(
        self,
        sums: list[int] | None = None,
        peak_bytes: int = 0,
        *,
        run: Buckets | None = None,
        delay: Buckets | None = None,
    ) -> None:
        self.sums = sums if sums is not None else [0] * len(PROFILE_SUMS)
        self.peak_bytes = peak_bytes
        self.run: Buckets = run if run is not None else {}
        self.delay: Buckets = delay if delay is not None else {}

    def add(self, other: Profile) -> None:
        """Take another one in."""
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        for mine, theirs in ((self.run, other.run), (self.delay, other.delay)):
            for bucket, count in theirs.items():
                mine[bucket] = mine.get(bucket, 0) + count

    def __getitem__(self, name: str) -> int:
        return self.sums[PROFILE_SUMS.index(name)]


def bucket_of(duration_ns: int) -> int:
    """Return the bucket a duration is counted in."""
    units = duration_ns // UNIT_NS
    shift = units.bit_length() - (_SUB_BITS + 1)
    return units if shift <= 0 else (shift << _SUB_BITS) + (units >> shift)


def middle_ns(bucket: int) -> float:
    """Return the middle of a bucket."""
    if bucket < _LINEAR:
        return (bucket + 0.5) * UNIT_NS
    shift = (bucket >> _SUB_BITS) - 1
    low = (bucket - (shift << _SUB_BITS)) << shift
    return (low + (1 << shift) / 2) * UNIT_NS


def percentile_ns(buckets: Mapping[int, int], share: float) -> float:
    """Return the duration that `share` (0 to 1) of the counted ones do not exceed; 0.0 for none."""
    total = sum(buckets.values())
    wanted = share * total
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= wanted:
            return middle_ns(bucket)
    return 0.0
