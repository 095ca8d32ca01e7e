"""When timers are due, as text: `5m`, `0 6 * * mon-fri`. Checked where they are written; the platform keeps time."""

from __future__ import annotations

import re
from typing import Final

EVERY_MIN_S: Final = 1.0
EVERY_MAX_S: Final = 366 * 86_400.0
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
NICKNAMES: Final = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
# Source: POSIX crontab, and what cron implementations share: names, ranges, steps, 7 for Sunday.
_FIELDS: Final[tuple[tuple[str, int, int, dict[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)


def every_s(text: str) -> float:
    """Return the seconds of a duration such as `5m`. Raises: `ValueError`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration such as 30s, 5m or 1h")
    seconds = float(found[1]) * _UNITS[found[2]]
    if not EVERY_MIN_S <= seconds <= EVERY_MAX_S:
        raise ValueError(f"{text!r} is not within 1s to 366d")
    return seconds


def check_cron(text: str) -> None:
    """Raise `ValueError` that names the field where `text` is no cron expression of five fields."""
    if text in NICKNAMES:
        return
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"{text!r} has {len(parts)} fields; a cron expression has five: {_names()}")
    for part, field in zip(parts, _FIELDS, strict=True):
        for piece in part.split(","):
            _check_piece(piece, text, field)


def _check_piece(piece: str, text: str, field: tuple[str, int, int, dict[str, int]]) -> None:
    name, low, high, _ = field
    span, slash, step = piece.partition("/")
    if slash and not (step.isascii() and step.isdigit() and 1 <= int(step[:4]) <= high):
        raise ValueError(f"{text!r}: the step {step!r} of {name} is not a number from 1 to {high}")
    if span == "*":
        return
    first, dash, last = span.partition("-")
    numbers = [_number(one, text, field) for one in ([first, last] if dash else [first])]
    if not low <= numbers[0] <= numbers[-1] <= high:
        raise ValueError(f"{text!r}: {name} is {span!r}, allowed are {low} to {high}")


def _number(word: str, text: str, field: tuple[str, int, int, dict[str, int]]) -> int:
    name, _, _, words = field
    known = words.get(word.lower())
    if known is not None:
        return known
    if not (word.isascii() and word.isdigit() and len(word) < 5):
        raise ValueError(f"{text!r}: {name} is {word!r}, not a number")
    return int(word)


def _names() -> str:
    return ", ".join(name for name, *_ in _FIELDS)
