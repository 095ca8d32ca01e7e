"""The gateway's own counters: plain integers, touched on the invocation path, read when somebody asks.

A snapshot is plain lists and travels as JSON; `exposition` turns it into Prometheus text in another process, because
rendering a thousand functions takes a hundred milliseconds that the gateway does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from wispd.model.budget import BudgetState
from wispd.model.counts import VersionCounts
from wispd.model.invocation import Status

FUNCTIONS_MAX: Final = 1000  # functions with a label of their own; the rest count under OTHER
OTHER: Final = "_other"
VERSIONS_MAX: Final = 4  # versions of one function that are counted apart; older ones count together
CODES_MAX: Final = 100
ANSWERED_5XX: Final = len(Status)
BUCKET_NS: Final = 50_000  # upper bound of the first bucket; each next one is twice as wide
BUCKETS: Final = 24  # the last bound is 50 µs × 2²³ = 419 s
_FAILED: Final = (Status.ERROR, Status.TIMEOUT, Status.MEMORY_EXHAUSTED, Status.INSTANCE_LOST)
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


def bounds_ns() -> list[int]:
    """Return the upper bounds of a histogram's buckets; the last bucket has none."""
    return [BUCKET_NS << index for index in range(BUCKETS)]


class Series(Struct):
    """The counters of one version, or (version 0) of a function or what is left of its older versions."""

    namespace: str
    function: str
    statuses: list[int]  # by number of `Status`, and at `ANSWERED_5XX` answers that say that something failed
    elapsed: Histogram
    version: int = 0

    def add(self, other: Series) -> None:
        """Add another's counts."""
        for index, count in enumerate(other.statuses):
            self.statuses[index] += count
        for index, count in enumerate(other.elapsed):
            self.elapsed[index] += count

    def counts(self) -> VersionCounts:
        """Return what a rollout looks at."""
        failed = self.statuses[ANSWERED_5XX] + sum(self.statuses[status] for status in _FAILED)
        calls = self.statuses[Status.OK] + sum(self.statuses[status] for status in _FAILED)
        return VersionCounts(number=self.version, calls=calls, failed=failed, buckets=self.elapsed[: BUCKETS + 1])


def _empty(namespace: str, function: str, version: int = 0) -> Series:
    return Series(namespace, function, [0] * (len(Status) + 1), histogram(), version)


class Gauges(Struct, kw_only=True):
    """What is true at this moment; the gateway's wiring fills it in."""

    instances: dict[str, int] = {}  # state → count
    memory_reserved_bytes: int = 0
    memory_budget_bytes: int = 0


class Snapshot(Struct, kw_only=True):
    """All counters since the gateway started. Shares the live lists: encode it before anything else happens.

    `series` are functions; `versions` are those of functions that several versions were called of.
    """

    series: list[Series]
    versions: list[Series] = []
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
        self._functions: dict[tuple[str, str], dict[int, Series]] = {}  # version → its counters; 0: older ones
        self._other = _empty("", OTHER)
        self.folded: Callable[[Series], None] = lambda _: None  # hears of counters that are no longer incremented
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

    def series(self, namespace: str, function: str, version: int) -> Series:
        """Return the counters of a version, which the caller may keep and increment until `folded` names them."""
        versions = self._functions.get((namespace, function))
        if versions is None:
            if len(self._functions) >= FUNCTIONS_MAX:
                return self._other
            versions = self._functions[namespace, function] = {}
        found = versions.get(version)
        if found is None:
            found = versions[version] = _empty(namespace, function, version)
            if len(versions) > VERSIONS_MAX + (0 in versions):
                self._fold(versions)
        return found

    def counts(self, namespace: str, function: str) -> list[VersionCounts]:
        """Return the counts of a function's versions."""
        versions = self._functions.get((namespace, function), {})
        return [series.counts() for number, series in versions.items() if number]

    def _fold(self, versions: dict[int, Series]) -> None:
        """Let the version that was seen first count with the older ones."""
        oldest = versions.pop(next(number for number in versions if number))
        rest = versions.get(0)
        if rest is None:
            rest = versions[0] = _empty(oldest.namespace, oldest.function)
        rest.add(oldest)
        self.folded(oldest)

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
            series=[*map(_whole, self._functions.values()), *other],
            versions=[one for versions in self._functions.values() if len(versions) > 1 for one in versions.values()],
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


def _whole(versions: dict[int, Series]) -> Series:
    """Return the counters of a function."""
    first = next(iter(versions.values()))
    if len(versions) == 1:
        return first
    total = _empty(first.namespace, first.function)
    for one in versions.values():
        total.add(one)
    return total
