"""Which idle instances are there only because `min` says so: they are paid for at their own rate. Pure."""

from __future__ import annotations


def kept_idle(*, minimum: int, ready: int, busy: int) -> int:
    """Return how many instances are kept and do nothing; busy ones are paid for by their calls."""
    return max(0, min(minimum, ready) - busy)


def kept_mib_ms(instances: int, *, memory_bytes: int, elapsed_ns: int) -> int:
    """Return what keeping them so long used, rounded to whole MiB-milliseconds."""
    return instances * (memory_bytes >> 20) * ((elapsed_ns + 500_000) // 1_000_000)
