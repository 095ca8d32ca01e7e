"""The writer: what it does when a segment is full, the disk is full, the recorder is gone, or it is killed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from recorded import World, version

from wispd.adapters.store.records_query import LogFilter
from wispd.base.clock import VirtualClock
from wispd.observe import entries, segments
from wispd.observe.reading import SegmentReader
from wispd.observe.segments import SegmentWriter, list_segments, parse_name, segment_name


def _calls(world: World) -> int:
    return sum(row.calls for row in world.queries.usage("default"))


def test_full_segments_are_followed_by_others_and_every_one_declares_its_versions(tmp_path: Path) -> None:
    world = World(tmp_path, segment_bytes=16_384)
    for number in range(600):
        world.finish(1, version(f"f{number % 7}"))
        if number % 10 == 0:
            world.observer.tick()
    assert len(list_segments(tmp_path)) > 4
    assert world.recorder.pass_once() == 600
    assert {row.calls for row in world.queries.usage("default")} == {85, 86}
    assert len(list_segments(tmp_path)) <= 2  # the one being written, and the next
    assert world.writer.dropped == 0
    world.close()


def test_closing_leaves_nothing_that_waits(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.finish(3)
    world.writer.close()
    assert world.recorder.pass_once() == 3
    assert list_segments(tmp_path) == []
    assert world.recorder.status().unsealed == 0
    world.close()


def test_an_entry_larger_than_what_is_left_goes_to_the_next_segment(tmp_path: Path) -> None:
    world = World(tmp_path, segment_bytes=1 << 20)
    for _ in range(4):
        world.finish(1, log=b"y" * 400_000)
    assert world.recorder.pass_once() == 4
    assert len(world.queries.logs(LogFilter(namespace="default")).items) == 4
    world.close()


def test_with_the_disk_full_records_are_dropped_counted_and_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, segment_bytes=16_384)
    allocate = os.posix_fallocate

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segments.os, "posix_fallocate", full)
    world.finish(300)
    dropped = world.writer.dropped
    assert 0 < dropped < 300
    assert world.writer.statistics().blocked == "No space left on device"
    assert not list(tmp_path.glob("*.new"))

    monkeypatch.setattr(segments.os, "posix_fallocate", allocate)
    world.clock.advance(1.5)
    world.observer.tick()
    world.finish(50)
    world.recorder.pass_once()
    assert world.writer.dropped == dropped
    assert _calls(world) == 350 - dropped
    assert world.queries.usage("default")[-1].dropped == dropped
    assert world.metrics.snapshot().records_dropped == dropped
    world.close()


def test_without_a_recorder_segments_stay_bounded(tmp_path: Path) -> None:
    world = World(tmp_path, segment_bytes=16_384, segments_max=4)
    world.finish(2000)
    assert len(list_segments(tmp_path)) == 4
    assert "limit 4" in world.writer.blocked
    dropped = world.writer.dropped
    world.recorder.pass_once()
    world.clock.advance(1.5)
    world.observer.tick()
    world.finish(10)
    world.recorder.pass_once()
    assert _calls(world) == 2010 - dropped
    world.close()


def test_a_writer_that_can_not_begin_does_not_raise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segments.os, "posix_fallocate", full)
    world = World(tmp_path)
    world.finish(5)
    assert world.writer.dropped == 5
    monkeypatch.undo()
    world.clock.advance(2)
    world.observer.tick()
    world.finish(5)
    world.recorder.pass_once()
    assert _calls(world) == 5
    world.close()


def test_a_live_segment_is_left_to_its_writer_and_a_dead_ones_is_finished(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.finish(2)
    world.recorder.pass_once()
    world.recorder.pass_once()
    assert len(list_segments(tmp_path)) == 1
    world.finish(1)
    current = world.writer._current
    assert current is not None
    current.close()  # what the kernel does for a killed process: the lock goes, no seal is written
    world.writer._current = world.writer._map = None
    assert world.recorder.pass_once() == 1
    assert list_segments(tmp_path) == []
    assert world.recorder.status().unsealed == 1
    world.close()


def test_a_restarted_recorder_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.finish(10)
    world.recorder.pass_once()
    world.recorder.close()
    world.finish(10)
    assert world.recorder.pass_once() == 10  # declared before the offset, and still known
    (usage,) = world.queries.usage("default")
    assert (usage.function, usage.calls) == ("hello", 20)
    world.close()


def test_a_second_recorder_waits_for_the_first(tmp_path: Path) -> None:
    world, other = World(tmp_path), World(tmp_path)
    world.finish(5)
    world.recorder.pass_once()
    assert other.recorder.pass_once() == 0
    assert other.recorder.status().state == "unavailable"
    world.recorder.close()
    other.finish(1)
    assert other.recorder.pass_once() == 1
    assert other.recorder.status().state == "ok"
    world.close()
    other.close()


def test_a_file_that_is_no_segment_is_set_aside(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / segment_name(5, 0)).write_bytes(b"\0" * 4096)
    world.finish(1)
    assert world.recorder.pass_once() == 1
    assert world.recorder.status().unreadable == 1
    assert list(tmp_path.glob("*.unreadable"))
    world.close()


def test_epochs_go_up_even_if_the_clock_goes_back(tmp_path: Path) -> None:
    first = SegmentWriter(tmp_path, VirtualClock(2_000_000_000_000))
    second = SegmentWriter(tmp_path, VirtualClock(1_000_000_000_000))
    assert second.epoch > first.epoch
    first.close()
    second.close()


def test_names() -> None:
    assert parse_name(segment_name(77, 3)) == (77, 3)
    for name in ("records.db", "x-1.seg", segment_name(1, 1) + ".new", segment_name(1, 1).upper(), "records.lock"):
        assert parse_name(name) is None


def test_unknown_kinds_are_skipped(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, VirtualClock())
    body = bytearray(entries.pack_dropped(entries.Dropped(1, 2)))
    body[4] = 200
    assert writer.append(bytes(body))
    assert writer.append(entries.pack_dropped(entries.Dropped(3, 4)))
    reader = SegmentReader(tmp_path / segment_name(writer.epoch, 0))
    assert reader.read() == [entries.Dropped(3, 4)]
    reader.close()
    writer.close()
