"""What callers are told when a budget or a quota does not let them in. No amounts: callers may be anybody."""

from __future__ import annotations

from typing import Final

from wispd.base.errors import Fault
from wispd.metering.budgets import Purse, Verdict
from wispd.metering.periods import DAY_US, day_of
from wispd.model.record import time_text

SOON_S: Final = 1.0


def time_of(day: int) -> str:
    """Return a day's first moment as RFC 3339."""
    return time_text(day * DAY_US)[:19] + "Z"


def over_budget(purse: Purse, verdict: Verdict, now_us: int) -> Fault:
    """Return the refusal of a call that a budget does not let in."""
    budget = purse.budget
    if verdict is Verdict.UNKNOWN:
        return Fault("unavailable", "what was spent so far is being added up", retry_after_s=SOON_S)
    resets_day = purse.resets_day(day_of(now_us))
    whose = f"function {budget.function!r}" if budget.function else f"namespace {budget.namespace!r}"
    resets = time_of(resets_day)
    rest = {
        Verdict.SPENT: f"is spent; calls are let in again from {resets}",
        Verdict.RESERVED: "is nearly spent, and what is left may be needed by calls that are running",
        Verdict.THROTTLED: f"is spent; until {resets} one call a second is let in",
    }[verdict]
    wait_s = max((resets_day * DAY_US - now_us) / 1e6, SOON_S) if verdict is Verdict.SPENT else SOON_S
    return Fault(
        "budget_exceeded",
        f"the {budget.period}'s budget of {whose} {rest}",
        retry_after_s=wait_s,
        namespace=budget.namespace,
        function=budget.function,
        period=budget.period,
        resets=resets,
    )


def over_rate(key: tuple[str, str], limit: int, wait_s: float) -> Fault:
    """Return the refusal of a call above its function's calls per minute."""
    namespace, function = key
    message = f"function {function!r} may be called {limit} times a minute in namespace {namespace!r}"
    return Fault(
        "quota_exceeded",
        message,
        retry_after_s=max(wait_s, SOON_S),
        namespace=namespace,
        function=function,
        limit=limit,
    )
