"""Copies of the stores while they are written, and the look at a copy before it is believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

from wispd.adapters.store import control_schema, records_schema
from wispd.adapters.store.control_session import told
from wispd.base.errors import Fault
from wispd.model.backup import CONTROL_NAME, RECORDS_NAME, Snapshot

_TREES: Final = """
SELECT DISTINCT 'code', json_extract(content, '$.code') FROM versions UNION
SELECT DISTINCT 'layers', json_extract(content, '$.layer') FROM versions ORDER BY 1, 2
"""
_CHANGED: Final = """
SELECT max(at) FROM (SELECT max(updated_us) AS at FROM functions UNION SELECT max(created_us) FROM versions
UNION SELECT max(updated_us) FROM secrets)
"""
_FUNCTIONS: Final = "SELECT count(*) FROM functions WHERE live IS NOT NULL"
_KEYS: Final = "SELECT DISTINCT key_id FROM secrets ORDER BY 1"


class StoreSnapshots:
    """Implements `wispd.ports.backup.Snapshots` for a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def control(self, target: Path) -> Snapshot:
        with told():
            connection = _copied(self._data_dir / CONTROL_NAME, target)
            try:
                connection.pragma("secure_delete", True)
                with connection:
                    connection.execute("DELETE FROM tokens")  # a copy in strange hands must open no door
                connection.execute("VACUUM")
                return _described(connection)
            finally:
                connection.close()

    def records(self, target: Path) -> bool:
        source = self._data_dir / RECORDS_NAME
        if not source.is_file():
            return False
        with told():
            _copied(source, target).close()
        return True


def inspect_control(path: Path) -> Snapshot:
    """Look at a copy of the control plane's store; bring it to the current schema.

    Raises: `Fault("invalid_argument")` when it is damaged, has a foreign schema, or is of a newer version of Wisp.
    """
    connection = _inspected(path, control_schema.MIGRATIONS, control_schema.migrate)
    try:
        return _described(connection)
    finally:
        connection.close()


def inspect_records(path: Path) -> None:
    """Look at a copy of the records, as `inspect_control`."""
    _inspected(path, records_schema.MIGRATIONS, records_schema.migrate).close()


def _copied(source: Path, target: Path) -> apsw.Connection:
    """Return a copy as one plain file: all transactions up to a moment, none half."""
    origin = apsw.Connection(str(source), apsw.SQLITE_OPEN_READWRITE)
    try:
        origin.set_busy_timeout(5000)
        copy = apsw.Connection(str(target))
        with copy.backup("main", origin, "main") as under_way:
            while not under_way.done:
                under_way.step(-1)  # in one go: in pieces, each foreign commit would start it anew
        copy.pragma("journal_mode", "delete")
        copy.pragma("synchronous", "full")
        return copy
    finally:
        origin.close()


def _described(connection: apsw.Connection) -> Snapshot:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql).fetchall()

    return Snapshot(
        trees=[(kind, digest) for kind, digest in rows(_TREES) if digest],
        functions=rows(_FUNCTIONS)[0][0],
        changed_us=rows(_CHANGED)[0][0] or 0,
        secret_keys=[row[0] for row in rows(_KEYS)],
    )


def _inspected(
    path: Path, migrations: tuple[str, ...], migrate: Callable[[apsw.Connection], None]
) -> apsw.Connection:
    try:
        connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.pragma("trusted_schema", False)
            version = connection.pragma("user_version")
            if version > len(migrations):
                text = f"{path.name} has format {version}, this version of Wisp reads up to {len(migrations)}"
                raise Fault("invalid_argument", f"the backup is refused: {text}; use a newer one")
            if _schema(connection) != _schema(_fresh(migrations[:version])):
                raise Fault("invalid_argument", f"the backup is refused: the tables of {path.name} are not Wisp's")
            if connection.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
                raise Fault("invalid_argument", f"the backup is refused: {path.name} is damaged")
            migrate(connection)
        except BaseException:
            connection.close()
            raise
    except apsw.Error as error:
        raise Fault("invalid_argument", f"the backup is refused: {path.name} can't be read: {error}") from error
    return connection


def _fresh(migrations: tuple[str, ...]) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    for script in migrations:
        connection.execute(script)
    return connection


def _schema(connection: apsw.Connection) -> list[tuple[Any, ...]]:
    found = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%' ORDER BY 1, 2"
    rows: list[tuple[Any, ...]] = connection.execute(found).fetchall()
    return rows
