"""What is kept of each function, and how the rest is deleted. Runs inside the store's transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import apsw
from msgspec import Struct

LOG_OVERHEAD: Final = 64  # bytes that one piece of log text counts besides its text
_SLICE: Final = 5000  # rows of one function deleted at once when they are too old


class Retention(Struct, frozen=True, kw_only=True):
    """What is kept of each function: records by count and age, log text by bytes and age."""

    records_max: int = 10_000
    age_s: float = 7 * 86_400.0
    log_bytes_max: int = 64 * 1024 * 1024


def number(connection: apsw.Connection, sql: str, arguments: Sequence[Any]) -> int:
    """Return the one number a query answers with, 0 for none."""
    row = connection.execute(sql, arguments).fetchone()
    return int(row[0] or 0) if row else 0


def newest(rows: list[tuple[Any, ...]], records_max: int) -> list[tuple[Any, ...]]:
    """Return those records of a burst that would not be deleted at once (they begin with their id)."""
    return rows if len(rows) <= records_max else sorted(rows)[-records_max:]


def trim_records(connection: apsw.Connection, function: int, added: int, *, records_max: int) -> None:
    """Count new records; a tenth above the limit, delete the oldest down to it."""
    connection.execute("UPDATE function SET records = records + ? WHERE id = ?", (added, function))
    total = number(connection, "SELECT records FROM function WHERE id = ?", (function,))
    if total > records_max + records_max // 10:
        row = connection.execute(
            "SELECT id FROM invocation WHERE function = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
            (function, records_max - 1),
        ).fetchone()
        if row:
            _delete_records(connection, function, row[0])


def trim_log(connection: apsw.Connection, function: int, added: int, *, bytes_max: int) -> None:
    """Count new log text; a tenth above the limit, delete the oldest down to it."""
    connection.execute("UPDATE function SET log_bytes = log_bytes + ? WHERE id = ?", (added, function))
    over = number(connection, "SELECT log_bytes FROM function WHERE id = ?", (function,)) - bytes_max
    if over <= bytes_max // 10:
        return
    last = 0
    rows: Any = connection.execute("SELECT seq, length(text) FROM log WHERE function = ? ORDER BY seq", (function,))
    for seq, size in rows:
        last = seq
        over -= size + LOG_OVERHEAD
        if over <= 0:
            break
    _delete_log(connection, function, last)


def expire(connection: apsw.Connection, before_us: int) -> bool:
    """Delete some of what is older; True while there may be more."""
    oldest = max(before_us // 1000, 0).to_bytes(6, "big") + bytes(10)  # ids begin with milliseconds
    most = 0
    rows: Any = connection.execute("SELECT id, records, log_bytes FROM function").fetchall()
    for function, records, log_bytes in rows:
        if records:
            most = max(most, _delete_records(connection, function, _slice(connection, function, oldest)))
        if log_bytes:
            last = number(
                connection,
                "SELECT max(seq) FROM (SELECT seq, time_us FROM log WHERE function = ? ORDER BY seq LIMIT ?) "
                "WHERE time_us < ?",
                (function, _SLICE, before_us),
            )
            most = max(most, _delete_log(connection, function, last) if last else 0)
    return most >= _SLICE


def _slice(connection: apsw.Connection, function: int, below: bytes) -> bytes:
    """Return a bound with at most `_SLICE` records of the function below it."""
    row = connection.execute(
        "SELECT id FROM invocation WHERE function = ? AND id < ? ORDER BY id LIMIT 1 OFFSET ?",
        (function, below, _SLICE),
    ).fetchone()
    return row[0] if row else below


def _delete_records(connection: apsw.Connection, function: int, below: bytes) -> int:
    """Delete a function's records with smaller ids; return how many."""
    before = connection.total_changes()
    connection.execute("DELETE FROM invocation WHERE function = ? AND id < ?", (function, below))
    deleted = connection.total_changes() - before
    if deleted:
        connection.execute("DELETE FROM failure WHERE function = ? AND id < ?", (function, below))
        connection.execute("UPDATE function SET records = max(records - ?, 0) WHERE id = ?", (deleted, function))
    return deleted


def _delete_log(connection: apsw.Connection, function: int, last: int) -> int:
    """Delete a function's log text up to a piece; return how many pieces."""
    which = (function, last)
    size = number(connection, "SELECT sum(length(text)) FROM log WHERE function = ? AND seq <= ?", which)
    before = connection.total_changes()
    connection.execute("DELETE FROM log WHERE function = ? AND seq <= ?", which)
    pieces = connection.total_changes() - before
    freed = size + pieces * LOG_OVERHEAD
    connection.execute("UPDATE function SET log_bytes = max(log_bytes - ?, 0) WHERE id = ?", (freed, function))
    return pieces
