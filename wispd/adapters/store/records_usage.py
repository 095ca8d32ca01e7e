"""What was used, by namespace, function, version and period: the bill's rows, read from minutes and whole days."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from wispd.base.errors import Fault
from wispd.model.record import USAGE_COLUMNS, Usage, usage_row
from wispd.model.usage import Used

By = Literal["namespace", "function", "version", "minute", "hour", "day"]
PERIODS: Final = {"minute": 1, "hour": 60, "day": 1440}
WORDS: Final = ("namespace", "function", "version", *PERIODS)
MINUTE_US: Final = 60_000_000
_DAY: Final = 1440
_FOREVER: Final = 1 << 40  # minutes
_SUMS: Final = ", ".join(f"sum(u.{column})" for column in USAGE_COLUMNS)

Rows = Callable[[str, Sequence[Any]], Sequence[Any]]


def used(rows: Rows, namespace: str, *, since_us: int, until_us: int, by: Sequence[By]) -> list[Used]:
    """Return sums over whole minutes from `since_us` up to `until_us` (0: no bound), a row per day or finer.

    `namespace` "": all of them. Groups not asked for are empty. Cost: a row per day, where no finer period is asked.

    Raises: `Fault("invalid_argument")` for a word that is no group.
    """
    unknown = [word for word in by if word not in WORDS]
    if unknown:
        raise Fault("invalid_argument", f"can't group usage by {unknown[0]!r}; by {', '.join(WORDS)}")
    step = next((PERIODS[word] for word in by if word in PERIODS), 0)
    version = "u.version" if "version" in by else "0"
    name = "f.name" if "function" in by or "version" in by else "''"
    first, last = since_us // MINUTE_US, until_us // MINUTE_US or _FOREVER
    found: list[Used] = []
    for table, column, unit, (low, high) in _spans(first, last, fine=0 < step < _DAY):
        bucket = f"u.minute / {step} * {step}" if 0 < step < _DAY else f"u.{column} * {unit} / {_DAY} * {_DAY}"
        where, values = ("f.namespace = ? AND ", (namespace,)) if namespace else ("", ())
        found += [
            Used(namespace=row[0], minute=row[1], function=row[2], version=row[3], sums=tuple(row[4:]))
            for row in rows(
                f"SELECT f.namespace, {bucket} AS bucket, {name} AS name_, {version} AS version_, {_SUMS} "  # noqa: S608
                f"FROM {table} u JOIN function f ON f.id = u.function WHERE {where}"
                f"u.{column} >= ? AND u.{column} < ? "
                "GROUP BY f.namespace, bucket, name_, version_ ORDER BY bucket",
                (*values, low, high),
            )
        ]
    return found


def _spans(first: int, last: int, *, fine: bool) -> list[tuple[str, str, int, tuple[int, int]]]:
    """Return where to read minutes `first` to `last`: whole days from their table, the rest from the minutes'."""
    day_first, day_last = -(-first // _DAY), last // _DAY
    if fine or day_first >= day_last:
        return [("usage", "minute", 1, (first, last))]
    spans = [
        ("usage", "minute", 1, (first, day_first * _DAY)),
        ("usage_day", "day", _DAY, (day_first, day_last)),
        ("usage", "minute", 1, (day_last * _DAY, last)),
    ]
    return [span for span in spans if span[3][0] < span[3][1]]


def lost(rows: Rows, *, since_us: int, until_us: int) -> int:
    """Return how many records could not be written in the period."""
    bounds = (since_us // MINUTE_US, until_us // MINUTE_US or _FOREVER)
    found = rows("SELECT coalesce(sum(dropped), 0) FROM gap WHERE minute >= ? AND minute < ?", bounds)
    return int(found[0][0]) if found else 0


def grouped(found: Sequence[Used], by: Sequence[By]) -> list[Usage]:
    """Return the sums by exactly the groups asked for, in the order of period, namespace, function, version."""
    stepped = any(word in PERIODS for word in by)
    sums: dict[tuple[int, str, str, int], tuple[int, ...]] = {}
    for one in found:
        key = (one.minute if stepped else 0, one.namespace, one.function, one.version)
        before = sums.get(key)
        sums[key] = one.sums if before is None else tuple(map(sum, zip(before, one.sums, strict=True)))
    return [usage_row(key, sums[key], stepped=stepped) for key in sorted(sums)]
