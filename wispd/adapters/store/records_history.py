"""One consistent look at ``records.db``: what functions used by day, and how far segments were read for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import apsw

from wispd.adapters.store.records_schema import MIGRATIONS
from wispd.base.errors import Fault


class Indexed(NamedTuple):
    """Sums by (namespace, function) and day: calls, mib_ms, warm_mib_ms, bytes_out; positions by (epoch, number)."""

    used: dict[tuple[str, str], dict[int, tuple[int, int, int, int]]]
    positions: dict[tuple[int, int], int]


def indexed(path: Path, since_day: int) -> Indexed:
    """Return what is indexed from a day on; a file that is not there yet holds nothing.

    Raises: `Fault("unavailable")` when it can't be read, or is not yet in the current format.
    """
    if not path.exists():
        return Indexed({}, {})
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error as error:
        raise Fault("unavailable", f"records can't be read: {error}") from error
    try:
        connection.set_busy_timeout(1000)
        return _read(connection, since_day)
    except apsw.Error as error:
        raise Fault("unavailable", f"records can't be read: {error}") from error
    finally:
        connection.close()


def _read(connection: apsw.Connection, since_day: int) -> Indexed:
    version = connection.pragma("user_version")
    if version == 0:
        return Indexed({}, {})  # made this moment: nothing was ever stored
    if version != len(MIGRATIONS):
        raise Fault("unavailable", "records are being brought to a new format")
    connection.execute("BEGIN")  # one snapshot of sums and positions
    found: Any = connection.execute(
        "SELECT f.namespace, f.name, u.day, sum(u.calls), sum(u.mib_ms), sum(u.warm_mib_ms), sum(u.bytes_out) "
        "FROM usage_day u JOIN function f ON f.id = u.function WHERE u.day >= ? GROUP BY f.id, u.day",
        (since_day,),
    ).fetchall()
    read: Any = connection.execute("SELECT epoch, number, offset FROM segment").fetchall()
    connection.execute("COMMIT")
    used: dict[tuple[str, str], dict[int, tuple[int, int, int, int]]] = {}
    for namespace, name, day, *sums in found:
        used.setdefault((namespace, name), {})[day] = (sums[0], sums[1], sums[2], sums[3])
    return Indexed(used, {(epoch, number): offset for epoch, number, offset in read})
