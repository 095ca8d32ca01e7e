"""How many instances to start. Pure: a function of the demand, the clock and the past failures.

One waiting event wants one free slot (concurrency 1: one instance). What is being started already counts.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from msgspec import Struct

from wispd.ports.demand import Demand

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 10.0
BURST_MAX: Final = 200  # starts decided at once, so that one flood does not queue thousands at the launcher


class Backoff(Struct):
    """Failed initialisations of one version since the last good one."""

    failures: int = 0
    until_ns: int = 0


def starts(demand: Demand, *, concurrency: int, now_ns: int, backoff: Backoff) -> int:
    """Return how many instances to start now."""
    if now_ns < backoff.until_ns:
        return 0
    existing = demand.ready + demand.starting
    for_waiting = ceil(max(0, demand.waiting - demand.spare) / concurrency)
    for_minimum = max(0, demand.minimum - existing)
    for_heat = 1 if demand.hot and demand.hot == demand.busy and not demand.starting else 0
    wanted = max(for_waiting, for_minimum, for_heat)
    if backoff.failures:
        wanted = min(wanted, 1 if not demand.starting else 0)  # one probe at a time until one is good
    return max(0, min(wanted, demand.maximum - existing, BURST_MAX))


def failed(backoff: Backoff, now_ns: int) -> Backoff:
    """Return the back-off after one more failed initialisation: 0.1 s, doubling, at most 10 s."""
    delay_s = min(BACKOFF_FIRST_S * 2**backoff.failures, BACKOFF_MAX_S)
    return Backoff(failures=min(backoff.failures + 1, 32), until_ns=now_ns + int(delay_s * 1e9))
