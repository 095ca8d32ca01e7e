"""On a disk that is really full: no signal, no exception, everything counted, and on again once there is room.

The unprivileged twins, where the refusal is made, are `test_recorder_faults` and `test_segments` in the unit tests.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wispd.adapters.store.records_query import RecordQueries
from wispd.app.recording import STORE_NAME, Recorder
from wispd.base.clock import VirtualClock
from wispd.base.ids import id_source
from wispd.model.function import Version
from wispd.model.invocation import Invocation, Status
from wispd.observe.metrics import GatewayMetrics
from wispd.observe.observer import GatewayObserver
from wispd.observe.segments import SegmentWriter, list_segments

pytestmark = pytest.mark.needs_root
SEGMENT = 131_072


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)), check=True)
    yield folder
    subprocess.run(("umount", str(folder)), check=True)


def test_full_and_free_again(small_disk: Path) -> None:
    clock = VirtualClock()
    writer = SegmentWriter(small_disk, clock, segment_bytes=SEGMENT)
    observer = GatewayObserver(writer, GatewayMetrics(), clock)
    make_id = id_source(clock)
    version = Version(id="ver_1", namespace="default", function="f", number=1, code="", handler="m:f")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))

    def finish(count: int) -> None:
        for _ in range(count):
            one = Invocation(
                1,
                make_id(),
                version,
                None,  # type: ignore[arg-type]  # nobody answers
                received_ns=clock.monotonic_ns(),
                received_us=clock.unix_ns() // 1000,
                deadline_ns=0,
                frame=b"",
            )
            one.status, one.finished_ns = Status.OK, clock.monotonic_ns()
            observer.finished(one)

    finish(6000)  # 750 KiB of records for some 500 KiB of disk
    assert 0 < writer.dropped < 6000
    assert writer.blocked == "No space left on device"
    recorder = Recorder(small_disk, clock)
    recorder.pass_once()
    assert recorder.status().state in ("storage_full", "unavailable")
    assert recorder.status().message

    ballast.unlink()
    clock.advance(2)
    while recorder.pass_once():
        pass
    observer.tick()
    finish(100)
    recorder.pass_once()
    queries = RecordQueries(small_disk / STORE_NAME)
    calls, lost = queries.usage("default")
    queries.close()
    assert (calls.calls, lost.dropped) == (6100 - writer.dropped, writer.dropped)
    assert recorder.status().state == "ok"
    recorder.close()
    writer.close()
    assert len(list_segments(small_disk)) <= 1
