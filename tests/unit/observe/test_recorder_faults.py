"""A store that can't take more stops the recorder's work, shows, and goes on without a restart."""

from __future__ import annotations

import os
import time
from pathlib import Path

import apsw
import pytest
from recorded import World

from wispd.adapters.store.records import RecordStore
from wispd.adapters.store.records_schema import MIGRATIONS
from wispd.app import recording
from wispd.base.errors import Fault
from wispd.observe.segments import list_segments


class FullStore(RecordStore):
    """A store on a disk that has no more pages (SQLite says SQLITE_FULL, as for ENOSPC)."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._connection.pragma("max_page_count", 20)


def test_a_full_disk_stops_indexing_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, segment_bytes=65_536)
    monkeypatch.setattr(recording, "RecordStore", FullStore)
    world.finish(2000)
    world.recorder.pass_once()
    status = world.recorder.status()
    assert status.state == "storage_full"
    assert "full" in status.message
    world.recorder.pass_once()
    assert world.recorder.status().state == "storage_full"

    monkeypatch.undo()
    world.recorder.pass_once()
    assert world.recorder.status().state == "ok"
    assert world.queries.usage("default")[0].calls == 2000
    assert len(list_segments(tmp_path)) <= 2
    world.close()


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / recording.STORE_NAME
    with apsw.Connection(str(path)) as connection:
        connection.pragma("user_version", len(MIGRATIONS) + 1)
    with pytest.raises(Fault, match=f"has format {len(MIGRATIONS) + 1}"):
        RecordStore(path)
    world = World(tmp_path)
    world.finish(1)
    assert world.recorder.pass_once() == 0
    assert world.recorder.status().state == "unavailable"
    world.close()


def test_a_store_that_is_no_database_shows(tmp_path: Path) -> None:
    (tmp_path / recording.STORE_NAME).write_bytes(b"not a database" * 1000)
    world = World(tmp_path)
    world.finish(1)
    world.recorder.pass_once()
    assert world.recorder.status().state == "unavailable"
    assert list_segments(tmp_path)
    world.close()


def test_what_a_killed_preallocation_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / "0000000000000001-00000000.new"
    left.write_bytes(b"")
    os.utime(left, (1, 1))
    fresh = tmp_path / "0000000000000001-00000001.new"
    fresh.write_bytes(b"")
    os.utime(fresh, (time.time() + 3600, time.time() + 3600))
    world = World(tmp_path)
    world.recorder.pass_once()
    assert not left.exists()
    assert fresh.exists()
    world.close()
