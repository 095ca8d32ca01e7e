"""The tables of ``control.db``, and how an older file becomes the current one.

Rows carry who wrote them (node_id, epoch), so that stores of several nodes can be joined. A deleted function's row
stays (`live` is empty) and remembers its last version number: a name that is deployed again goes on counting, so
that a record's version number means one thing forever.
"""

from __future__ import annotations

import contextlib
from typing import Final

import apsw

from wispd.adapters.store.control_access_schema import ACCESS
from wispd.adapters.store.control_builds_schema import SCHEMA as _BUILDS
from wispd.adapters.store.control_versions_schema import DEPLOYMENTS
from wispd.base.errors import Fault

_FIRST: Final = """
CREATE TABLE functions (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, live TEXT,
    enabled INTEGER NOT NULL, concurrency_reserved INTEGER NOT NULL, last_number INTEGER NOT NULL,
    created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, node_id BLOB NOT NULL, epoch INTEGER NOT NULL,
    UNIQUE (namespace, key)
) STRICT;
CREATE TABLE versions (
    id TEXT PRIMARY KEY, function INTEGER NOT NULL REFERENCES functions (id), number INTEGER NOT NULL,
    fingerprint BLOB NOT NULL, content BLOB NOT NULL, created_us INTEGER NOT NULL,
    node_id BLOB NOT NULL, epoch INTEGER NOT NULL, UNIQUE (function, number), UNIQUE (function, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE TABLE routes (
    host TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, function INTEGER NOT NULL REFERENCES functions (id),
    PRIMARY KEY (host, method, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX routes_by_function ON routes (function);
CREATE TABLE tokens (
    digest TEXT PRIMARY KEY, role TEXT NOT NULL, namespace TEXT NOT NULL, expires_us INTEGER NOT NULL,
    created_us INTEGER NOT NULL, node_id BLOB NOT NULL, epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_LIMITS: Final = """
CREATE TABLE budgets (
    namespace TEXT NOT NULL, function TEXT NOT NULL, period TEXT NOT NULL, content BLOB NOT NULL,
    updated_us INTEGER NOT NULL, node_id BLOB NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (namespace, function, period)
) STRICT, WITHOUT ROWID;
CREATE TABLE quotas (
    namespace TEXT PRIMARY KEY, content BLOB NOT NULL,
    updated_us INTEGER NOT NULL, node_id BLOB NOT NULL, epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_SECRETS: Final = """
CREATE TABLE secrets (
    namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL, sealed BLOB NOT NULL, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL,
    node_id BLOB NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX secrets_by_key ON secrets (key_id);
"""

# The n-th one makes user_version n; never edit one that was released.
MIGRATIONS: Final = (_FIRST, ACCESS, _BUILDS, _LIMITS, DEPLOYMENTS, _SECRETS)
SQLITE_MIN: Final = (3, 51, 3)  # older ones can lose a WAL that is being reset. Source: sqlite.org/wal.html

_FULL: Final = 2  # `synchronous`: each commit is flushed


def open_store(path: str) -> apsw.Connection:
    """Return a connection to the store, durable on commit and brought to the current schema.

    Raises: `Fault("unavailable")` when SQLite is too old, a promise is not kept, or a newer Wisp wrote the file.
    """
    found = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if found < SQLITE_MIN:
        raise Fault("unavailable", f"SQLite is {apsw.sqlite_lib_version()}, at least 3.51.3 is needed")
    connection = apsw.Connection(path)
    connection.set_busy_timeout(2000)
    mode = connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("foreign_keys", True)
    connection.pragma("cache_size", -2048)
    synchronous = connection.pragma("synchronous")
    if mode != "wal" or synchronous != _FULL:
        text = (
            f"control.db can't be made durable: journal_mode {mode}, synchronous {synchronous}; wal and 2 are needed"
        )
        raise Fault("unavailable", text)
    _write_again(connection)
    migrate(connection)
    return connection


def _write_again(connection: apsw.Connection) -> None:
    """Copy what an earlier process left in the log into the file, and begin a new log.

    When a flush failed, the log may be whole in memory and not on the disk, and a later flush would not say so. What
    is written again is flushed again.
    """
    with contextlib.suppress(apsw.BusyError):  # somebody reads just now; the next start does it
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def migrate(connection: apsw.Connection) -> None:
    """Bring the file to the current schema, each step in one transaction."""
    version = connection.pragma("user_version")
    if version > len(MIGRATIONS):
        raise Fault("unavailable", f"control.db has format {version}, this version reads up to {len(MIGRATIONS)}")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        with connection:
            connection.execute(script)
            connection.pragma("user_version", number)
