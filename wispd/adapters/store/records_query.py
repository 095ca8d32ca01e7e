"""Read-only questions about what ran. Any process may ask; the recorder is the one writer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import apsw
from msgspec import Struct

from wispd.adapters.store import records_statistics, records_usage
from wispd.adapters.store.records_schema import MIGRATIONS
from wispd.adapters.store.records_usage import By
from wispd.base.errors import Fault
from wispd.base.ids import from_text, to_text
from wispd.model.profile import Profile
from wispd.model.record import (
    STATUS_NUMBERS,
    STATUS_WORDS,
    TRIGGER_WORDS,
    InvocationRecord,
    LogLine,
    LogPage,
    Page,
    RecordedError,
    Usage,
    time_text,
)
from wispd.model.statistics import Facts
from wispd.model.usage import Used

LIMIT_MAX: Final = 1000
LOG_OF_RECORD_MAX: Final = 10_000  # pieces of one invocation
_OK: Final = STATUS_NUMBERS["ok"]
_RECORD: Final = """
SELECT i.id, f.namespace, f.name, i.version, i.status, i.http_status, i.trigger, i.cold, i.received_us, i.attempt,
       i.queue_ns, i.init_ns, i.run_ns, i.elapsed_ns, i.billed_ns, i.memory_bytes, i.peak_bytes, i.bytes_in,
       i.bytes_out, i.instance, i.log_dropped, i.error_code, x.message, x.trace
FROM invocation i JOIN function f ON f.id = i.function
LEFT JOIN failure x ON x.function = i.function AND x.id = i.id AND x.attempt = i.attempt
"""
_LOG: Final = "SELECT l.seq, l.time_us, f.name, l.version, l.instance, l.invocation, l.text FROM log l "


class RecordFilter(Struct, frozen=True, kw_only=True):
    """Which records. Empty fields mean all; `status` is a word; `since_us` Unix µs of receipt."""

    namespace: str
    function: str = ""
    status: str = ""
    since_us: int = 0


class LogFilter(Struct, frozen=True, kw_only=True):
    """Which log text. Empty fields mean all; `since_us` Unix µs at which it was written."""

    namespace: str
    function: str = ""
    invocation_id: str = ""
    since_us: int = 0


class RecordQueries:
    """Questions to ``records.db``. One thread at a time; a file that is not there yet answers with nothing.

    Raises: `Fault` `invalid_argument` for a malformed id, cursor or word, `not_found`, `unavailable`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: apsw.Connection | None = None

    def show(self, invocation_id: str, *, namespace: str = "") -> InvocationRecord:
        """Return one record with its log lines (the last attempt, where there were several); of another namespace
        than `namespace` ("": any) it is not found."""
        raw = _raw_id(invocation_id)
        rows = self._rows(
            _RECORD + "WHERE i.id = ? AND ? IN ('', f.namespace) ORDER BY i.attempt DESC LIMIT 1", (raw, namespace)
        )
        if not rows:
            raise Fault("not_found", f"no record of {invocation_id}: it has not ended, or is older than what is kept")
        record = _record(rows[0])
        where = "JOIN function f ON f.id = l.function WHERE f.namespace = ? AND f.name = ? AND l.invocation = ? "
        found = (record.namespace, record.function, raw, LOG_OF_RECORD_MAX)
        log = self._rows(_LOG + where + "ORDER BY l.seq LIMIT ?", found)
        return _record(rows[0], tuple(_line(row) for row in log))

    def page(self, wanted: RecordFilter, *, limit: int = 50, cursor: str = "") -> Page:
        """Return records, newest first."""
        limit = _limit(limit)
        where, arguments = self._scope("i.function", wanted.namespace, wanted.function)
        if wanted.status:
            number = _status(wanted.status)
            where.append(f"i.status = {number}" + (" AND i.status <> 2" if number != _OK else ""))
        if wanted.since_us:
            where.append("i.id >= ? AND i.received_us >= ?")
            arguments += [_id_at(wanted.since_us), wanted.since_us]
        if cursor:
            where.append("i.id < ?")
            arguments.append(_raw_id(cursor))
        order = f"WHERE {' AND '.join(where)} ORDER BY i.id DESC, i.attempt DESC LIMIT ?"
        rows = self._rows(_RECORD + order, (*arguments, limit + 1))
        items = tuple(_record(row) for row in rows[:limit])
        return Page(items=items, next=items[-1].invocation_id if len(rows) > limit else "")

    def logs(self, wanted: LogFilter, *, limit: int = 500, cursor: int | None = None) -> LogPage:
        """Return log text, oldest first: behind `cursor`; or since a time; or else the newest `limit` pieces.

        To follow, ask again with the answer's `next`. An unknown function has no text yet.
        """
        limit = _limit(limit)
        where, values = self._scope("l.function", wanted.namespace, wanted.function)
        if wanted.invocation_id:
            where[0] = where[0].replace("+", "")  # few functions, many log pieces: probe each function's index
            where.append("l.invocation = ?")
            values.append(_raw_id(wanted.invocation_id))
        if wanted.since_us:
            where.append("l.time_us >= ?")
            values.append(wanted.since_us)
        newest = cursor is None and not wanted.since_us and not wanted.invocation_id
        if cursor is not None:
            where.append("l.seq > ?")
            values.append(cursor)
        order = f"WHERE {' AND '.join(where)} ORDER BY l.seq {'DESC' if newest else ''} LIMIT ?"
        rows = self._rows(_LOG + "JOIN function f ON f.id = l.function " + order, (*values, limit))
        items = tuple(_line(row) for row in (reversed(rows) if newest else rows))
        return LogPage(items=items, next=items[-1].cursor if items else self._log_end(cursor))

    def usage(
        self, namespace: str, *, since_us: int = 0, until_us: int = 0, by: Sequence[By] = ("function",)
    ) -> tuple[Usage, ...]:
        """Return sums of what ended in the whole minutes from `since_us` up to `until_us` (0: no bound).

        Grouped by any of function, version, and one of minute, hour, day; in that order. The answer's last element,
        if records were lost in the period, has only `dropped`.
        """
        found = records_usage.used(self._rows, namespace, since_us=since_us, until_us=until_us, by=by)
        sums = records_usage.grouped(found, by)
        if dropped := records_usage.lost(self._rows, since_us=since_us, until_us=until_us):
            sums.append(Usage(namespace=namespace, dropped=dropped))
        return tuple(sums)

    def used(self, namespace: str, *, since_us: int, until_us: int, by: Sequence[By]) -> list[Used]:
        """Return the rows of a bill; `namespace` "": of all."""
        return records_usage.used(self._rows, namespace, since_us=since_us, until_us=until_us, by=by)

    def profiles(self, key: tuple[str, str], *, step: int, first: int, last: int) -> list[tuple[int, Profile]]:
        """Return (slot, profile) of a function (namespace, name) in slots of `step` (1 or 60) minutes."""
        return records_statistics.profiles(self._rows, key, step=step, first=first, last=last)

    def facts(self, key: tuple[str, str], *, since_us: int) -> Facts:
        """Return what the records of a function say since a time."""
        return records_statistics.facts(self._rows, key, since_id=_id_at(since_us))

    def lost(self, *, since_us: int, until_us: int) -> int:
        """Return how many records could not be written in the period."""
        return records_usage.lost(self._rows, since_us=since_us, until_us=until_us)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _scope(self, column: str, namespace: str, function: str) -> tuple[list[str], list[Any]]:
        """Return the condition for a function, or a namespace (the plus keeps the order of the other table)."""
        if not function:
            return ["+f.namespace = ?"], [namespace]
        rows = self._rows("SELECT id FROM function WHERE namespace = ? AND name = ?", (namespace, function))
        return [f"{column} = ?"], [rows[0][0] if rows else -1]

    def _log_end(self, cursor: int | None) -> int:
        if cursor is not None:
            return cursor
        rows = self._rows("SELECT coalesce(max(seq), 0) FROM log", ())
        return int(rows[0][0]) if rows else 0

    def _rows(self, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        try:
            connection = self._open()
            return connection.execute(sql, arguments).fetchall() if connection else ()
        except apsw.Error as error:
            self.close()
            raise Fault("unavailable", f"records can't be read: {error}") from error

    def _open(self) -> apsw.Connection | None:
        if self._connection is None:
            if not self._path.exists():
                return None
            connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
            connection.set_busy_timeout(1000)
            if connection.pragma("user_version") != len(MIGRATIONS):  # the recorder has not made it yet
                connection.close()
                return None
            self._connection = connection
        return self._connection


def _raw_id(text: str) -> bytes:
    try:
        return from_text("inv", text)
    except ValueError as error:
        raise Fault("invalid_argument", str(error)) from error


def _id_at(unix_us: int) -> bytes:
    """Return the smallest id of that millisecond. Source: RFC 9562, section 5.7 (the first 48 bits are ms)."""
    return max(unix_us // 1000 - 1, 0).to_bytes(6, "big") + bytes(10)


def _limit(limit: int) -> int:
    if not 1 <= limit <= LIMIT_MAX:
        raise Fault("invalid_argument", f"limit is {limit}, allowed are 1 to {LIMIT_MAX}")
    return limit


def _status(word: str) -> int:
    if word not in STATUS_NUMBERS:
        raise Fault("invalid_argument", f"status {word!r} is none of {', '.join(STATUS_NUMBERS)}")
    return STATUS_NUMBERS[word]


def _record(row: tuple[Any, ...], log: tuple[LogLine, ...] = ()) -> InvocationRecord:
    run_ns, billed_ns = row[12], row[14]
    return InvocationRecord(
        invocation_id=to_text("inv", row[0]),
        namespace=row[1],
        function=row[2],
        version=row[3],
        status=STATUS_WORDS.get(row[4], "unknown"),
        http_status=row[5],
        trigger=TRIGGER_WORDS.get(row[6], "unknown"),
        cold=bool(row[7]),
        received=time_text(row[8]),
        attempt=row[9],
        queue_ms=row[10] / 1e6,
        init_ms=row[11] / 1e6,
        run_ms=run_ns / 1e6,
        elapsed_ms=row[13] / 1e6,
        billed_ms=-(-billed_ns // 1_000_000),
        cpu_wait_ms=max(run_ns - billed_ns, 0) / 1e6,
        memory_bytes=row[15],
        peak_bytes=row[16],
        bytes_in=row[17],
        bytes_out=row[18],
        instance=row[19],
        log_dropped=row[20],
        error=RecordedError(code=row[21], message=row[22] or "") if row[21] else None,
        traceback=row[23] or "",
        log=log,
    )


def _line(row: tuple[Any, ...]) -> LogLine:
    seq, time_us, function, version, instance, invocation, text = row
    return LogLine(
        cursor=seq,
        time=time_text(time_us),
        function=function,
        version=version,
        instance=instance,
        invocation_id=to_text("inv", invocation) if invocation else "",
        text=text,
    )
