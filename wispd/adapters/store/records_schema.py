"""The tables of ``records.db``, and how an older file becomes the current one.

`source` holds (node_id, epoch): who recorded a row. Records, failures and usage refer to it, so that files of several
nodes can be joined without their counts being mixed up.
"""

from __future__ import annotations

from typing import Final

import apsw

from wispd.base.errors import Fault

_FIRST: Final = """
CREATE TABLE source (
    id INTEGER PRIMARY KEY, node_id BLOB NOT NULL, epoch INTEGER NOT NULL, UNIQUE (node_id, epoch)
) STRICT;
CREATE TABLE segment (
    epoch INTEGER NOT NULL, number INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (epoch, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE function (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL,
    records INTEGER NOT NULL DEFAULT 0, log_bytes INTEGER NOT NULL DEFAULT 0, UNIQUE (namespace, name)
) STRICT;
CREATE TABLE invocation (
    function INTEGER NOT NULL, id BLOB NOT NULL, attempt INTEGER NOT NULL, source INTEGER NOT NULL,
    version INTEGER NOT NULL, status INTEGER NOT NULL, http_status INTEGER NOT NULL, trigger INTEGER NOT NULL,
    cold INTEGER NOT NULL, received_us INTEGER NOT NULL, elapsed_ns INTEGER NOT NULL, queue_ns INTEGER NOT NULL,
    init_ns INTEGER NOT NULL, run_ns INTEGER NOT NULL, billed_ns INTEGER NOT NULL, memory_bytes INTEGER NOT NULL,
    peak_bytes INTEGER NOT NULL, bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL, instance INTEGER NOT NULL,
    log_dropped INTEGER NOT NULL, error_code TEXT NOT NULL,
    PRIMARY KEY (function, id, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX invocation_by_id ON invocation (id);
CREATE INDEX invocation_failed ON invocation (id) WHERE status <> 2;
CREATE TABLE failure (
    function INTEGER NOT NULL, id BLOB NOT NULL, attempt INTEGER NOT NULL,
    message TEXT NOT NULL, trace TEXT NOT NULL, PRIMARY KEY (function, id, attempt)
) STRICT;
CREATE TABLE log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, function INTEGER NOT NULL, source INTEGER NOT NULL, invocation BLOB,
    version INTEGER NOT NULL, instance INTEGER NOT NULL, time_us INTEGER NOT NULL, text TEXT NOT NULL
) STRICT;
CREATE INDEX log_by_function ON log (function, seq);
CREATE INDEX log_by_invocation ON log (function, invocation) WHERE invocation IS NOT NULL;
CREATE TABLE usage (
    minute INTEGER NOT NULL, function INTEGER NOT NULL, version INTEGER NOT NULL, source INTEGER NOT NULL,
    calls INTEGER NOT NULL, failed INTEGER NOT NULL, cold INTEGER NOT NULL, billed_ms INTEGER NOT NULL,
    mib_ms INTEGER NOT NULL, run_ns INTEGER NOT NULL, bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL,
    PRIMARY KEY (minute, function, version, source)
) STRICT, WITHOUT ROWID;
CREATE TABLE gap (
    minute INTEGER NOT NULL, source INTEGER NOT NULL, dropped INTEGER NOT NULL, PRIMARY KEY (minute, source)
) STRICT, WITHOUT ROWID;
"""

_MONEY: Final = """
ALTER TABLE usage ADD COLUMN cpu_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN warm_mib_ms INTEGER NOT NULL DEFAULT 0;
CREATE TABLE usage_day (
    day INTEGER NOT NULL, function INTEGER NOT NULL, version INTEGER NOT NULL, source INTEGER NOT NULL,
    calls INTEGER NOT NULL, failed INTEGER NOT NULL, cold INTEGER NOT NULL, billed_ms INTEGER NOT NULL,
    mib_ms INTEGER NOT NULL, run_ns INTEGER NOT NULL, bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL,
    cpu_ns INTEGER NOT NULL, warm_mib_ms INTEGER NOT NULL, PRIMARY KEY (day, function, version, source)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_day SELECT minute / 1440, function, version, source, sum(calls), sum(failed), sum(cold),
    sum(billed_ms), sum(mib_ms), sum(run_ns), sum(bytes_in), sum(bytes_out), 0, 0 FROM usage GROUP BY 1, 2, 3, 4;
CREATE TABLE profile (
    function INTEGER NOT NULL, step INTEGER NOT NULL, slot INTEGER NOT NULL, source INTEGER NOT NULL,
    sums BLOB NOT NULL, peak_bytes INTEGER NOT NULL, run BLOB NOT NULL, delay BLOB NOT NULL,
    PRIMARY KEY (function, step, slot, source)
) STRICT, WITHOUT ROWID;
"""

MIGRATIONS: Final = (_FIRST, _MONEY)  # the n-th one makes user_version n; never edit one that was released


def migrate(connection: apsw.Connection) -> None:
    """Bring the file to the current schema, each step in one transaction.

    Raises: `Fault` `unavailable` when a newer version of Wisp wrote the file.
    """
    version = connection.pragma("user_version")
    if version > len(MIGRATIONS):
        raise Fault("unavailable", f"records.db has format {version}, this version reads up to {len(MIGRATIONS)}")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        with connection:
            connection.execute(script)
            connection.pragma("user_version", number)
