"""Which instance takes the next event: an idle one, one that is busy (queue ahead), or none yet. Pure.

Queueing ahead is for functions of sub-millisecond run time only: below that, waiting behind another event costs
less than waking another process. Above it, one event has one instance.
"""

from __future__ import annotations

from enum import Enum
from math import ceil
from typing import Final

QUEUE_AHEAD_NS: Final = 1_000_000  # predicted wait up to which an event queues behind others
OVERRUN_NS: Final = 2_000_000  # a head that runs longer than this (or OVERRUN_FACTOR × the estimate) is overdue
OVERRUN_FACTOR: Final = 10
STARVED_MAX_NS: Final = 10_000_000  # no event waits longer behind another, whatever the head waits for
DEPTH_MAX: Final = 64  # frames ahead at most, whatever the estimate says: they wait in one socket's buffer
UTILISATION: Final = 0.7  # of the warm target
ESTIMATE_WEIGHT: Final = 0.125  # of a new run time in the smoothed one (TCP's SRTT gain, RFC 6298)


class Choice(Enum):
    """What to do with an event."""

    IDLE = 1
    AHEAD = 2
    WAIT = 3


def choose(*, estimate_ns: int, warm: int, busy: int, idle: int, ahead: int) -> Choice:
    """Place one event of a function with concurrency 1.

    `estimate_ns` 0 means no estimate yet; `warm` is the warm target; `ahead` the fewest events any busy instance has
    (-1: no busy instance can take one more).
    """
    if not 0 < estimate_ns <= QUEUE_AHEAD_NS:
        return Choice.IDLE if idle else Choice.WAIT
    if idle and busy < warm:
        return Choice.IDLE
    if 0 <= ahead < DEPTH_MAX and ahead * estimate_ns <= QUEUE_AHEAD_NS:
        return Choice.AHEAD
    return Choice.IDLE if idle else Choice.WAIT


def warm_target(rate_per_s: float, estimate_ns: int) -> int:
    """Return how many instances the present rate keeps busy, at least 1 (Little's law over the utilisation)."""
    return max(1, ceil(rate_per_s * estimate_ns / 1e9 / UTILISATION))


def smooth(estimate_ns: int, run_ns: int) -> int:
    """Return the new smoothed run time; the first run is taken whole."""
    if estimate_ns == 0:
        return max(run_ns, 1)
    return max(1, int(estimate_ns + (run_ns - estimate_ns) * ESTIMATE_WEIGHT))


def is_overdue(*, running_ns: int, estimate_ns: int, looked_ns: int, starved_ns: int) -> bool:
    """Is the head of a queue to be given up as quick, so that those behind it go elsewhere?

    `starved_ns` is how much of the last `looked_ns` it waited for a CPU: where that is most of it, the machine is
    full, and one more instance would only share the same CPU.
    """
    if running_ns <= overdue_ns(estimate_ns):
        return False
    return running_ns > STARVED_MAX_NS or starved_ns * 2 < looked_ns


def overdue_ns(estimate_ns: int) -> int:
    """Return how long the head of a queue may run before the unread frames behind it are taken back."""
    return max(OVERRUN_FACTOR * estimate_ns, OVERRUN_NS)
