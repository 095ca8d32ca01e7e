"""Budgets: may one more call be let in, and what has been spent. Decisions are pure, money is atoms (see `rating`).

A call reserves the most it can cost (its price, and its memory for the whole timeout) before it is let in, and pays
what it did cost when it has ended. While less than such a reserve is left, one call at a time is let in, so that a
budget is used up and not merely approached. So spending is at most the limit and what was in flight when it was
reached: of `stop`, one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from wispd.metering.periods import end_of, start_of
from wispd.metering.rating import ATOMS_PER_MICRO, micro
from wispd.model.budget import Budget, BudgetState, Reaction

PERIODS_MAX: Final = 8  # sums kept of one budget; a clock that is set back finds what it had spent
THROTTLED_NS: Final = 1_000_000_000  # between two calls of a spent budget that throttles


class Verdict(IntEnum):
    """What a budget says to one more call."""

    ADMIT = 0
    SPENT = 1  # until the next period
    RESERVED = 2  # what is left may be needed by calls in flight
    THROTTLED = 3  # one a second
    UNKNOWN = 4  # what was spent is still being added up


def judge(then: Reaction, *, limit: int, spent: int, reserved: int, need: int, turn: bool) -> Verdict:
    """Decide on a call that costs at most `need`. `turn`: may a throttled call go now?"""
    if then == "warn" or spent + reserved + need <= limit:
        return Verdict.ADMIT
    if spent < limit and not reserved:
        return Verdict.ADMIT  # the last ones, one at a time
    if then == "throttle":
        return Verdict.ADMIT if turn else Verdict.THROTTLED
    return Verdict.SPENT if spent >= limit else Verdict.RESERVED


def crossed(at: Sequence[int], *, limit: int, before: int, after: int) -> int:
    """Return the highest threshold (per cent; 100 is the limit itself) reached by this step; 0 for none."""
    reached = [share for share in (*at, 100) if before * 100 < limit * share <= after * 100]
    return max(reached, default=0)


class Purse:
    """One budget and what is spent of it. Sums are kept by the first day of their period."""

    __slots__ = ("_day", "_start", "budget", "known_from", "limit", "open", "refused", "reserved", "spent", "turn_ns")

    def __init__(self, budget: Budget, *, open_: bool) -> None:
        self.budget = budget
        self.limit = budget.limit_micro * ATOMS_PER_MICRO
        self.spent: dict[int, int] = {}
        self.reserved = 0
        self.refused = 0
        self.known_from = -1  # the first day that `spent` is complete from; -1: not known yet
        self.open = open_  # let calls in while it is not known
        self.turn_ns = 0
        self._day = self._start = -1

    def start(self, day: int) -> int:
        """Return the first day of the period a day lies in."""
        if day != self._day:
            self._day, self._start = day, start_of(self.budget.period, day)
        return self._start

    def covers(self, day: int) -> bool:
        """Is the sum of the period a day lies in known?"""
        return 0 <= self.known_from <= self.start(day)

    def verdict(self, need: int, *, day: int, now_ns: int) -> Verdict:
        """Return what it says to a call that costs at most `need`. Changes nothing."""
        if not self.covers(day):
            return Verdict.ADMIT if self.open else Verdict.UNKNOWN
        return judge(
            self.budget.then,
            limit=self.limit,
            spent=self.spent.get(self.start(day), 0),
            reserved=self.reserved,
            need=need,
            turn=now_ns >= self.turn_ns,
        )

    def reserve(self, need: int, *, day: int, now_ns: int) -> None:
        """A call was let in."""
        self.reserved += need
        if self.budget.then == "throttle" and self.spent.get(self.start(day), 0) + self.reserved > self.limit:
            self.turn_ns = now_ns + THROTTLED_NS

    def spend(self, atoms: int, *, day: int) -> int:
        """Count a cost; return the threshold that it crossed, 0 for none."""
        start = self.start(day)
        before = self.spent.get(start, 0)
        self.spent[start] = before + atoms
        if len(self.spent) > PERIODS_MAX:
            del self.spent[next(iter(self.spent))]
        return crossed(self.budget.at, limit=self.limit, before=before, after=before + atoms)

    def stopped(self, day: int) -> bool:
        """Is it spent, and does it stop everything until the next period?"""
        return self.budget.then == "stop" and self.spent.get(self.start(day), 0) >= self.limit

    def known(self, spent: dict[int, int], since_day: int) -> None:
        """Take over what was spent from a day on (by first day of the period)."""
        self.spent = dict(sorted(spent.items())[-PERIODS_MAX:])
        self.known_from = since_day
        self.open = False

    def state(self, day: int, resets: str) -> BudgetState:
        """Return how it stands."""
        budget = self.budget
        spent = self.spent.get(self.start(day), 0)
        return BudgetState(
            namespace=budget.namespace,
            function=budget.function,
            period=budget.period,
            limit_micro=budget.limit_micro,
            spent_micro=micro(spent),
            reserved_micro=micro(self.reserved),
            then=budget.then,
            state=_word(budget, spent=spent, limit=self.limit),
            resets=resets,
            refused=self.refused,
            known=self.known_from >= 0,
        )

    def resets_day(self, day: int) -> int:
        """Return the first day of the next period."""
        return end_of(self.budget.period, day)


def _word(budget: Budget, *, spent: int, limit: int) -> str:
    if spent >= limit:
        return {"warn": "over", "throttle": "throttled", "stop": "stopped"}[budget.then]
    return "warned" if any(spent * 100 >= limit * share for share in budget.at) else "ok"
