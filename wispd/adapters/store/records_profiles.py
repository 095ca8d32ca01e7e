"""Profiles in ``records.db``: a row per function and minute, and one per hour. Runs in the store's transactions.

Sums and histograms are MessagePack, because a minute has few of all buckets and is read and written as a whole.
"""

from __future__ import annotations

from typing import Any, Final

import apsw
import msgspec

from wispd.model.profile import Buckets, Profile

MINUTE: Final = 1
HOUR: Final = 60
HOURS_KEPT_S: Final = 90 * 86_400
_SLICE: Final = 5000  # rows deleted at once

_encode = msgspec.msgpack.Encoder().encode
_buckets = msgspec.msgpack.Decoder(dict[int, int]).decode
_sums = msgspec.msgpack.Decoder(list[int]).decode
_SELECT: Final = "SELECT sums, peak_bytes, run, delay FROM profile WHERE function = ? AND step = ? "


def add(connection: apsw.Connection, profile: Profile, *, function: int, minute: int, source: int) -> None:
    """Merge one minute's profile into what is there."""
    for step in (MINUTE, HOUR):
        key = (function, step, minute // step, source)
        row: Any = connection.execute(_SELECT + "AND slot = ? AND source = ?", key).fetchone()
        merged = read(row) if row else Profile()
        merged.add(profile)
        content = (_encode(merged.sums), merged.peak_bytes, _encode(merged.run), _encode(merged.delay))
        connection.execute("INSERT OR REPLACE INTO profile VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*key, *content))


def read(row: tuple[bytes, int, bytes, bytes]) -> Profile:
    """Return the profile of a row: sums, peak_bytes, run, delay."""
    sums, peak_bytes, run, delay = row
    found: Buckets = _buckets(run)
    return Profile(_sums(sums), peak_bytes, run=found, delay=_buckets(delay))


def expire(connection: apsw.Connection, now_us: int, *, minutes_kept_s: float) -> bool:
    """Delete some of what is older; True while there may be more."""
    deleted = 0
    now_s = now_us // 1_000_000
    oldest = {MINUTE: (now_s - minutes_kept_s) // 60, HOUR: (now_s - HOURS_KEPT_S) // 3600}
    for (function,) in connection.execute("SELECT id FROM function").fetchall():
        for step, before in oldest.items():
            connection.execute(
                "DELETE FROM profile WHERE function = ? AND step = ? AND slot < ?", (function, step, int(before))
            )
            deleted += connection.changes()
    return deleted >= _SLICE
