"""Days and months of a bill, in UTC. Pure; days are counted from 1970-01-01."""

from __future__ import annotations

from datetime import date
from typing import Final

from wispd.model.budget import Period

DAY_US: Final = 86_400_000_000
DAY_MINUTES: Final = 1440
_EPOCH: Final = date(1970, 1, 1).toordinal()
_LAST: Final = date(9998, 12, 31).toordinal() - _EPOCH


def day_of(unix_us: int) -> int:
    """Return the day a moment lies in."""
    return unix_us // DAY_US


def month_start(day: int) -> int:
    """Return the first day of a day's month."""
    return day - _date(day).day + 1


def month_end(day: int) -> int:
    """Return the first day of the month after a day's."""
    found = _date(day)
    return date(found.year + found.month // 12, found.month % 12 + 1, 1).toordinal() - _EPOCH


def month_text(day: int) -> str:
    """Return a day's month as `2026-01`."""
    return _date(day).isoformat()[:7]


def start_of(period: Period, day: int) -> int:
    """Return the first day of the period a day lies in."""
    return day if period == "day" else month_start(day)


def end_of(period: Period, day: int) -> int:
    """Return the first day behind the period a day lies in: when its budget is fresh again."""
    return day + 1 if period == "day" else month_end(day)


def _date(day: int) -> date:
    return date.fromordinal(_EPOCH + min(max(day, 0), _LAST))
