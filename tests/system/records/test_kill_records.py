"""kill -9 of the writer or of the recorder at any moment loses no acknowledged record and counts none twice."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from writing import Acknowledged, fork, kill, record_forever, totals, write_forever

from wispd.adapters.store.records import RecordStore
from wispd.adapters.store.records_retention import Retention
from wispd.app import recording
from wispd.app.recording import Recorder
from wispd.base.clock import SystemClock
from wispd.model.record import Batch, Position
from wispd.observe.segments import SegmentWriter, list_segments

KEEP_ALL = Retention(records_max=10_000_000)


class BufferedWriter(SegmentWriter):
    """What the real one must not be: it keeps entries to itself for a while."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._kept: list[bytes] = []
        super().__init__(*arguments, **settings)

    def append(self, body: bytes) -> bool:
        self._kept.append(body)
        if len(self._kept) < 50:
            return True
        kept, self._kept = self._kept, []
        return all(super(BufferedWriter, self).append(one) for one in kept)


class TwoStepStore(RecordStore):
    """What the real one must not be: usage first, how far it was read in another transaction."""

    def commit(self, batch: Batch, position: Position) -> None:
        before = self.positions().get((position.epoch, position.number), 0)
        super().commit(batch, Position(epoch=position.epoch, number=position.number, offset=before))
        time.sleep(0.005)
        super().commit(Batch(node_id=batch.node_id, epoch=batch.epoch), position)


def _kill_writers(folder: Path, times: int, *, writer: type[SegmentWriter]) -> list[tuple[int, int]]:
    """Kill that many writers, one after the other; return (acknowledged, found) of each."""
    chance = random.Random(7)
    said = Acknowledged(folder / "said")
    recorder = Recorder(folder, SystemClock(), KEEP_ALL)
    outcome = []
    number_sum = 0
    for _ in range(times):
        said.say(0)
        before = totals(folder)[0]
        pid = fork(lambda: write_forever(folder, said, writer=writer, pause=lambda: None))
        while not said.count():
            time.sleep(0.0005)
        time.sleep(chance.uniform(0.0, 0.03))
        kill(pid)
        recorder.pass_once()
        calls, numbers = totals(folder)
        found = calls - before
        outcome.append((said.count(), found))
        number_sum += found * (found - 1) // 2
        if writer is SegmentWriter:
            assert numbers == number_sum, "what was found is not the first ones, each once"
    assert list_segments(folder) == []
    recorder.close()
    said.close()
    return outcome


def test_fifty_killed_writers_lose_nothing_acknowledged(tmp_path: Path) -> None:
    for acknowledged, found in _kill_writers(tmp_path, 50, writer=SegmentWriter):
        assert found - acknowledged in (0, 1)  # recorded, and killed before it could say so


def test_a_writer_that_buffers_would_be_caught(tmp_path: Path) -> None:
    outcome = _kill_writers(tmp_path, 5, writer=BufferedWriter)
    assert any(found < acknowledged for acknowledged, found in outcome)


def _kill_recorders(folder: Path, times: int) -> tuple[int, tuple[int, int]]:
    """Kill that many recorders under load; return what was written, and (calls, sum of numbers) found."""
    chance = random.Random(11)
    said = Acknowledged(folder / "said")
    writing = fork(lambda: write_forever(folder, said, writer=SegmentWriter, pause=lambda: time.sleep(0.002)))
    try:
        for _ in range(times):
            pid = fork(lambda: record_forever(Recorder(folder, SystemClock(), KEEP_ALL)))
            time.sleep(chance.uniform(0.02, 0.12))
            kill(pid)
    finally:
        kill(writing)
    recorder = Recorder(folder, SystemClock(), KEEP_ALL)
    recorder.pass_once()
    recorder.close()
    written = said.count()
    said.close()
    assert list_segments(folder) == []
    return written, totals(folder)


def test_twenty_killed_recorders_count_each_invocation_once(tmp_path: Path) -> None:
    written, (calls, numbers) = _kill_recorders(tmp_path, 20)
    assert calls - written in (0, 1)
    assert numbers == calls * (calls - 1) // 2
    store = RecordStore(tmp_path / recording.STORE_NAME, KEEP_ALL)
    (rows,) = store._connection.execute("SELECT count(*) FROM invocation").fetchone()
    (kept,) = store._connection.execute("SELECT records FROM function").fetchone()
    store.close()
    assert rows == kept == calls


def test_usage_apart_from_its_position_would_be_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "RecordStore", TwoStepStore)
    written, (calls, _) = _kill_recorders(tmp_path, 20)
    assert calls > written + 1
