"""The one writer of ``records.db``: records, logs and usage, each stretch of a segment in one transaction.

Usage is committed together with how far its segment has been read, so each invocation counts exactly once, whenever
the recorder is killed. Retention is per function: the newest `records_max` and no older than `age_s`; a hot function
evicts only its own. Log text is bounded by bytes and age per function. Usage is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from wispd.adapters.store import records_profiles as profiles
from wispd.adapters.store import records_retention as retention
from wispd.adapters.store.records_retention import Retention
from wispd.adapters.store.records_schema import migrate
from wispd.base.errors import Fault
from wispd.model.record import Batch, FunctionKey, Position

_INVOCATION: Final = (
    "INSERT OR IGNORE INTO invocation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_FAILURE: Final = "INSERT OR IGNORE INTO failure VALUES (?, ?, ?, ?, ?)"
_LOG: Final = """
INSERT INTO log (function, source, invocation, version, instance, time_us, text) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_USAGE: Final = """
INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    calls = calls + excluded.calls, failed = failed + excluded.failed, cold = cold + excluded.cold,
    billed_ms = billed_ms + excluded.billed_ms, mib_ms = mib_ms + excluded.mib_ms, run_ns = run_ns + excluded.run_ns,
    bytes_in = bytes_in + excluded.bytes_in, bytes_out = bytes_out + excluded.bytes_out,
    cpu_ns = cpu_ns + excluded.cpu_ns, warm_mib_ms = warm_mib_ms + excluded.warm_mib_ms
"""
_BY_MINUTE: Final = _USAGE.format(table="usage")
_BY_DAY: Final = _USAGE.format(table="usage_day")
_DAY_MINUTES: Final = 1440
_GAP: Final = "INSERT INTO gap VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET dropped = dropped + excluded.dropped"


class RecordStore:
    """Raises: `Fault` `storage_full` or `unavailable`; nothing of the batch is stored then."""

    def __init__(self, path: Path, kept: Retention | None = None) -> None:
        self._retention = kept or Retention()
        self._functions: dict[FunctionKey, int] = {}
        self._sources: dict[tuple[bytes, int], int] = {}
        with self._mapped():
            self._connection = apsw.Connection(str(path))
            self._connection.set_busy_timeout(2000)
            self._connection.pragma("journal_mode", "wal")
            self._connection.pragma("synchronous", "full")
            self._connection.pragma("journal_size_limit", 16 * 1024 * 1024)
            migrate(self._connection)

    def positions(self) -> dict[tuple[int, int], int]:
        """Return (epoch, number) → offset of all segments that have been read at least in part."""
        with self._mapped():
            rows: list[Any] = self._connection.execute("SELECT epoch, number, offset FROM segment").fetchall()
            return {(epoch, number): offset for epoch, number, offset in rows}

    def commit(self, batch: Batch, position: Position) -> None:
        """Store a batch and how far its segment was read. All of it is on the disk when this returns, or nothing."""
        with self._transaction() as connection:
            source = self._source(connection, batch)
            for key, rows in batch.records.items():
                self._store_records(connection, self._function(connection, key), source, rows=rows)
            for key, rows in batch.logs.items():
                self._store_log(connection, self._function(connection, key), source, rows=rows)
            self._store_usage(connection, batch, source)
            connection.executemany(_GAP, ((minute, source, lost) for minute, lost in batch.dropped.items()))
            reached = (position.epoch, position.number, position.offset)
            connection.execute("INSERT OR REPLACE INTO segment VALUES (?, ?, ?)", reached)

    def forget(self, epoch: int, number: int) -> None:
        """The segment's file is gone: its position is needed no more."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM segment WHERE epoch = ? AND number = ?", (epoch, number))

    def expire(self, now_us: int) -> bool:
        """Delete some of what is too old; True while there is more."""
        with self._transaction() as connection:
            age_s = self._retention.age_s
            more = profiles.expire(connection, now_us, minutes_kept_s=age_s)
            return retention.expire(connection, now_us - int(age_s * 1e6)) or more

    def close(self) -> None:
        self._connection.close()

    def _store_usage(self, connection: apsw.Connection, batch: Batch, source: int) -> None:
        """Add sums to their minute and day, and profiles to their minute and hour."""
        rows = [
            (minute, self._function(connection, (namespace, function)), version, source, *sums)
            for (minute, namespace, function, version), sums in batch.usage.items()
        ]
        connection.executemany(_BY_MINUTE, rows)
        connection.executemany(_BY_DAY, ((row[0] // _DAY_MINUTES, *row[1:]) for row in rows))
        for (minute, namespace, function), profile in batch.profiles.items():
            key = self._function(connection, (namespace, function))
            profiles.add(connection, profile, function=key, minute=minute, source=source)

    def _store_records(
        self, connection: apsw.Connection, function: int, source: int, *, rows: list[tuple[Any, ...]]
    ) -> None:
        """Insert records (columns as in `RECORD_COLUMNS`); of a burst only what retention would leave anyway."""
        keep = self._retention.records_max
        rows = retention.newest(rows, keep)
        before = connection.total_changes()
        connection.executemany(_INVOCATION, ((function, *row[:2], source, *row[2:20]) for row in rows))
        inserted = connection.total_changes() - before
        failed = ((function, row[0], row[1], row[20], row[21]) for row in rows if row[19] or row[21])
        connection.executemany(_FAILURE, failed)
        retention.trim_records(connection, function, inserted, records_max=keep)

    def _store_log(
        self, connection: apsw.Connection, function: int, source: int, *, rows: list[tuple[Any, ...]]
    ) -> None:
        """Insert log text (columns as in `LOG_COLUMNS`)."""
        connection.executemany(_LOG, ((function, source, *row) for row in rows))
        added = sum(len(row[4]) + retention.LOG_OVERHEAD for row in rows)
        retention.trim_log(connection, function, added, bytes_max=self._retention.log_bytes_max)

    def _function(self, connection: apsw.Connection, key: FunctionKey) -> int:
        found = self._functions.get(key)
        if found is None:
            connection.execute("INSERT OR IGNORE INTO function (namespace, name) VALUES (?, ?)", key)
            found = retention.number(connection, "SELECT id FROM function WHERE namespace = ? AND name = ?", key)
            self._functions[key] = found
        return found

    def _source(self, connection: apsw.Connection, batch: Batch) -> int:
        key = (batch.node_id, batch.epoch)
        found = self._sources.get(key)
        if found is None:
            connection.execute("INSERT OR IGNORE INTO source (node_id, epoch) VALUES (?, ?)", key)
            found = retention.number(connection, "SELECT id FROM source WHERE node_id = ? AND epoch = ?", key)
            self._sources[key] = found
        return found

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        with self._mapped():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._functions.clear()  # ids given out in the transaction are void
                self._sources.clear()
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except apsw.FullError as error:
            raise Fault("storage_full", f"records.db can't grow: {error}") from error
        except apsw.Error as error:
            raise Fault("unavailable", f"records.db can't be written: {error}") from error
