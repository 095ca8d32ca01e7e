"""The gateway's own counters: plain integers, touched on the invocation path, read when somebody asks.

A snapshot is plain lists and travels as JSON; `exposition` turns it into Prometheus text in another process, because
rendering a thousand functions takes a hundred milliseconds that the gateway does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from wispd.model.budget import BudgetState
from wispd.model.invocation import Status

FUNCTIONS_MAX: Final = 1000  # functions with a label of their own; the rest count under OTHER
OTHER: Final = "_other"
CODES_MAX: Final = 100
BUCKET_NS: Final = 50_000  # upper bound of the first bucket; each next one is twice as wide
BUCKETS: Final = 24  # the last bound is 50 µs × 2²³ = 419 s
SUM: Final = 64  # where a histogram keeps its sum; durations stay below 2⁶³ ns, so their counts stay below it


# A histogram is a list: counts by bit length of (duration // 50 µs), one shift instead of a search, and last the sum
# of all durations in ns. The invocation path increments it in place.
Histogram = list[int]


def histogram() -> Histogram:
    """Return an empty histogram."""
    return [0] * (SUM + 1)


def add(to: Histogram, duration_ns: int) -> None:
    """Count one duration; a negative one counts as zero."""
    duration_ns = max(duration_ns, 0)
    to[(duration_ns // BUCKET_NS).bit_length()] += 1
    to[SUM] += duration_ns


class Series(Struct):
    """The counters of one function."""

    namespace: str
    function: str
    statuses: list[int]  # by number of `Status`
    elapsed: Histogram


class Gauges(Struct, kw_only=True):
    """What is true at this moment; the gateway's wiring fills it in."""

    instances: dict[str, int] = {}  # state → count
    memory_reserved_bytes: int = 0
    memory_budget_bytes: int = 0


class Snapshot(Struct, kw_only=True):
    """All counters since the gateway started. Shares the live lists: encode it before anything else happens."""

    series: list[Series]
    errors: dict[str, int]
    queue: Histogram
    cold_pooled: Histogram
    cold_forked: Histogram
    lag: Histogram
    throttles: int
    records_dropped: int
    log_lines_dropped: int
    observer_errors: int
    gauges: Gauges
    budgets: list[BudgetState] = []


class GatewayMetrics:
    """Counters of one gateway process."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], Series] = {}
        self._other = Series("", OTHER, [0] * len(Status), histogram())
        self.errors: dict[str, int] = {}
        self.queue = histogram()
        self.cold_pooled = histogram()
        self.cold_forked = histogram()
        self.lag = histogram()
        self.throttles = 0
        self.log_lines_dropped = 0
        self.observer_errors = 0
        self.records_dropped: Callable[[], int] = int
        self.gauges: Callable[[], Gauges] = Gauges
        self.budgets: Callable[[], list[BudgetState]] = list

    def series(self, namespace: str, function: str) -> Series:
        """Return the counters of a function, which the caller may keep and increment."""
        found = self._series.get((namespace, function))
        if found is None:
            if len(self._series) >= FUNCTIONS_MAX:
                return self._other
            found = Series(namespace, function, [0] * len(Status), histogram())
            self._series[namespace, function] = found
        return found

    def error(self, code: str) -> None:
        """Count one error; codes come from the platform's table, so they are few."""
        if code in self.errors or len(self.errors) < CODES_MAX:
            self.errors[code] = self.errors.get(code, 0) + 1
        if code == "throttled":
            self.throttles += 1

    def loop_lag(self, late_ns: int) -> None:
        """Count how much later than asked a timer of the event loop came."""
        add(self.lag, late_ns)

    def snapshot(self) -> Snapshot:
        """Return everything, O(functions) without copying counts."""
        other = [self._other] if any(self._other.statuses) else []
        return Snapshot(
            series=[*self._series.values(), *other],
            errors=self.errors,
            queue=self.queue,
            cold_pooled=self.cold_pooled,
            cold_forked=self.cold_forked,
            lag=self.lag,
            throttles=self.throttles,
            records_dropped=self.records_dropped(),
            log_lines_dropped=self.log_lines_dropped,
            observer_errors=self.observer_errors,
            gauges=self.gauges(),
            budgets=self.budgets(),
        )
