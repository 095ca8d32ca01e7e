"""`SpendGuard`: the budgets and per-minute quotas of all namespaces, kept in memory beside the invocation path.

What was spent before (by an earlier gateway, or before a budget was set) is added up from records by somebody else,
who hands it in as a `History` with the position it reached. What ended since then is in a short log here, so that
each call counts exactly once, however the two overlap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.metering.budgets import Purse, Verdict
from wispd.metering.periods import DAY_US, day_of, month_start
from wispd.metering.rating import PriceList, Quantities, billed_ms, charge
from wispd.metering.refusals import over_budget, over_rate, time_of
from wispd.model.budget import Budget, BudgetState, Quota
from wispd.model.function import Version
from wispd.model.invocation import Invocation

LOG_MAX: Final = 100_000  # costs kept while sums are not known; the oldest are in the records by then
VERSIONS_MAX: Final = 10_000  # whose budgets are remembered
GRACE_MS: Final = 1000  # a call is ended so soon after its timeout
MINUTE_NS: Final = 60_000_000_000
_MIB: Final = 1_048_576

Key = tuple[str, str]  # (namespace, function)
Position = tuple[int, int]  # (segment, offset)


class History(NamedTuple):
    """What functions used by day, from a day on, up to a position of the segments this gateway writes."""

    since_day: int
    reached: Position
    used: dict[Key, dict[int, Quantities]]


class _Watch(NamedTuple):
    """What concerns one version's calls."""

    key: Key
    purses: tuple[Purse, ...]
    per_minute: int  # -1: no limit


class SpendGuard:
    """Implements `wispd.ports.spending.Guard`.

    `position` says how far records are written, `tell` writes a line to the gateway's log.
    """

    def __init__(
        self, clock: Clock, prices: PriceList, *, position: Callable[[], Position], tell: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self.prices = prices
        self._position = position
        self._tell = tell
        self._purses: dict[tuple[str, str, str], Purse] = {}  # by namespace, function, period
        self._quotas: dict[str, Quota] = {}
        self._watches: dict[str, _Watch] = {}  # by version id
        self._held: dict[int, tuple[tuple[Purse, ...], int]] = {}  # call → what it reserved
        self._minutes: dict[Key, tuple[int, int]] = {}  # minute, calls in it
        self._log: deque[tuple[Position, Key, int, int]] = deque(maxlen=LOG_MAX)  # …, day, atoms
        self._memory_atoms = charge(Quantities(mib_ms=1), prices)
        self._call_atoms = charge(Quantities(calls=1), prices)
        self.watched = False

    # ── what is limited ─────────────────────────────────────────────────────────────────────────────────────

    def configure(self, budgets: Iterable[Budget], quotas: Iterable[Quota], *, starting: bool = False) -> None:
        """Take over what is in force. A new budget lets calls in until its sum is known, except when `starting`."""
        before, self._purses = self._purses, {}
        for budget in budgets:
            key = (budget.namespace, budget.function, budget.period)
            purse = before.get(key)
            if purse is None:
                purse = Purse(budget, open_=not starting)
            elif purse.budget != budget:
                changed = Purse(budget, open_=purse.open)
                changed.spent, changed.known_from = purse.spent, purse.known_from
                changed.reserved, changed.refused = purse.reserved, purse.refused
                self._held = {
                    number: (tuple(changed if one is purse else one for one in purses), need)
                    for number, (purses, need) in self._held.items()
                }
                purse = changed
            self._purses[key] = purse
        self._quotas = {quota.namespace: quota for quota in quotas if quota.calls_per_minute >= 0}
        self._watches.clear()
        self.watched = bool(self._purses or self._quotas)
        if not self.watched:
            self._held.clear()
            self._minutes.clear()

    @property
    def wanting(self) -> bool:
        """Is there a budget whose sum is not known?"""
        day = day_of(self._now_us())
        return any(not purse.covers(day) for purse in self._purses.values())

    def since_day(self) -> int:
        """Return the day from which sums are needed: the month before this one too, should the clock be set back."""
        return month_start(month_start(day_of(self._now_us())) - 1)

    def fill(self, history: History) -> None:
        """Take over what was spent, and add what ended while it was being added up."""
        today = day_of(self._now_us())
        for (namespace, function, _), purse in self._purses.items():
            if purse.covers(today):
                continue  # what ended meanwhile is in its sum, and perhaps not in the log
            spent: dict[int, int] = {}
            for (space, name), days in history.used.items():
                if space == namespace and function in ("", name):
                    for day, used in days.items():
                        start = purse.start(day)
                        spent[start] = spent.get(start, 0) + charge(used, self.prices)
            for position, (space, name), day, atoms in self._log:
                if position > history.reached and space == namespace and function in ("", name):
                    start = purse.start(day)
                    spent[start] = spent.get(start, 0) + atoms
            purse.known(spent, history.since_day)
        self._log.clear()

    def close(self) -> None:
        """Sums can't be read: let nothing in that depends on them."""
        for purse in self._purses.values():
            purse.open = False

    # ── the path ────────────────────────────────────────────────────────────────────────────────────────────

    def admit(self, invocation: Invocation, memory_bytes: int) -> Fault | None:
        version = invocation.version
        watch = self._watches.get(version.id) or self._watch(version)
        if not watch.purses and watch.per_minute < 0:
            return None
        now_ns = self._clock.monotonic_ns()
        if watch.per_minute >= 0 and (wait_s := self._over_rate(watch, now_ns)):
            return over_rate(watch.key, watch.per_minute, wait_s)
        if not watch.purses:
            return None
        need = self._most(version, memory_bytes)
        now_us = self._now_us()
        day = day_of(now_us)
        for purse in watch.purses:
            verdict = purse.verdict(need, day=day, now_ns=now_ns)
            if verdict is not Verdict.ADMIT:
                purse.refused += 1
                return over_budget(purse, verdict, now_us)
        for purse in watch.purses:
            purse.reserve(need, day=day, now_ns=now_ns)
        self._held[invocation.number] = (watch.purses, need)
        return None

    def settle(self, invocation: Invocation) -> None:
        held, need = self._held.pop(invocation.number, ((), 0))
        for purse in held:
            purse.reserved -= need
        version = invocation.version
        watch = self._watches.get(version.id) or self._watch(version)
        if watch.purses:
            memory = billed_ms(invocation.billed_ns) * invocation.memory_mib * self._memory_atoms
            sent = charge(Quantities(bytes_out=invocation.bytes_out), self.prices)
            elapsed_us = (invocation.finished_ns - invocation.received_ns) // 1000
            self._pay(watch, self._call_atoms + memory + sent, (invocation.received_us + elapsed_us) // DAY_US)

    def kept(self, version: Version, warm_mib_ms: int) -> None:
        """Instances were kept ready for a function."""
        watch = self._watches.get(version.id) or self._watch(version)
        if watch.purses:
            cost = charge(Quantities(warm_mib_ms=warm_mib_ms), self.prices)
            self._pay(watch, cost, day_of(self._now_us()))

    def stopped(self, version: Version) -> bool:
        """Is a budget of this function spent, so that not even a ready instance is paid for?"""
        if not self._purses:
            return False
        day = day_of(self._now_us())
        watch = self._watches.get(version.id) or self._watch(version)
        return any(purse.stopped(day) for purse in watch.purses)

    def states(self) -> list[BudgetState]:
        """Return how all budgets stand."""
        day = day_of(self._now_us())
        return [
            purse.state(day, time_of(purse.resets_day(day))) for _, purse in sorted(self._purses.items(), key=_first)
        ]

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _now_us(self) -> int:
        return self._clock.unix_ns() // 1000

    def _watch(self, version: Version) -> _Watch:
        namespace, function = version.namespace, version.function
        keys = [(namespace, name, period) for name in (function, "") for period in ("day", "month")]
        purses = tuple(self._purses[key] for key in keys if key in self._purses)
        quota = self._quotas.get(namespace)
        if len(self._watches) >= VERSIONS_MAX:
            self._watches.clear()
        watch = _Watch((namespace, function), purses, quota.calls_per_minute if quota else -1)
        self._watches[version.id] = watch
        return watch

    def _most(self, version: Version, memory_bytes: int) -> int:
        """Return the most a call can cost."""
        longest_ms = int(version.timeout_s * 1000) + GRACE_MS
        return self._call_atoms + longest_ms * -(-memory_bytes // _MIB) * self._memory_atoms

    def _pay(self, watch: _Watch, atoms: int, day: int) -> None:
        unknown = False
        for purse in watch.purses:
            reached = purse.spend(atoms, day=day)
            covered = purse.covers(day)
            unknown = unknown or not covered
            if reached and covered:
                budget = purse.budget
                what = f"function {budget.function!r}" if budget.function else "everything"
                limit = f"{budget.limit_micro / 1e6:.6f} {self.prices.currency}"
                self._tell(
                    f"budget: {what} in namespace {budget.namespace!r} has used {reached} % of this "
                    f"{budget.period}'s {limit}; at the limit: {budget.then}"
                )
        if unknown:
            self._log.append((self._position(), watch.key, day, atoms))

    def _over_rate(self, watch: _Watch, now_ns: int) -> float:
        """Count one call of this minute; return the seconds to the next minute if that was one too many."""
        minute = now_ns // MINUTE_NS  # of the monotonic clock: a jump of the wall clock gives no second helping
        at, calls = self._minutes.get(watch.key, (minute, 0))
        calls = calls + 1 if at == minute else 1
        if calls > watch.per_minute:
            return ((minute + 1) * MINUTE_NS - now_ns) / 1e9
        if len(self._minutes) >= VERSIONS_MAX:
            self._minutes = {key: one for key, one in self._minutes.items() if one[0] == minute}
        self._minutes[watch.key] = (minute, calls)
        return 0.0


def _first(item: tuple[tuple[str, str, str], Purse]) -> tuple[str, str, str]:
    return item[0]
