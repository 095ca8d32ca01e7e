"""Forked writers and recorders to be killed, and the count of what a writer has acknowledged."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path

from wispd.adapters.store.records_query import RecordQueries
from wispd.app.recording import STORE_NAME, Recorder
from wispd.base.clock import SystemClock
from wispd.base.ids import id_source
from wispd.model.function import Version
from wispd.model.invocation import Invocation, Status
from wispd.observe.metrics import GatewayMetrics
from wispd.observe.observer import GatewayObserver
from wispd.observe.segments import SegmentWriter

_ACK = struct.Struct("<Q")


def fork(run: Callable[[], None]) -> int:
    """Run it in a child that ends with it; return the child's pid."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
        finally:
            os._exit(1)
    return pid


def kill(pid: int) -> None:
    """kill -9, and reap."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the child ended by itself, before it was killed"


class Acknowledged:
    """A page that a writer shares with the test: how many of its records it has said are safe."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(self._descriptor, bytes(8), 0)

    def say(self, count: int) -> None:
        os.pwrite(self._descriptor, _ACK.pack(count), 0)

    def count(self) -> int:
        return int(_ACK.unpack(os.pread(self._descriptor, 8, 0))[0])

    def close(self) -> None:
        os.close(self._descriptor)


def write_forever(
    folder: Path, said: Acknowledged, *, writer: type[SegmentWriter], pause: Callable[[], None]
) -> None:
    """Record invocations, each with its number as `bytes_in`, and acknowledge each one after it was recorded."""
    clock = SystemClock()
    segments = writer(folder, clock, segment_bytes=65_536)
    observer = GatewayObserver(segments, GatewayMetrics(), clock)
    make_id = id_source(clock)
    version = Version(id="ver_1", namespace="default", function="f", number=1, code="", handler="m:f")
    count = 0
    while True:
        now_ns = clock.monotonic_ns()
        one = Invocation(
            count,
            make_id(),
            version,
            None,  # type: ignore[arg-type]  # nobody answers
            received_ns=now_ns,
            received_us=clock.unix_ns() // 1000,
            deadline_ns=0,
            frame=b"",
            bytes_in=count,
        )
        one.status, one.finished_ns, one.billed_ns = Status.OK, now_ns + 1000, 1000
        if count % 5 == 0:
            one.log = b"%d\n" % count * (count % 50)
        observer.finished(one)
        count += 1
        said.say(count)
        if count % 64 == 0:
            observer.tick()
            pause()


def record_forever(recorder: Recorder) -> None:
    while True:
        recorder.pass_once()


def totals(folder: Path) -> tuple[int, int]:
    """Return (calls, sum of their numbers) as usage has them."""
    queries = RecordQueries(folder / STORE_NAME)
    rows = queries.usage("default")
    queries.close()
    return sum(row.calls for row in rows), sum(row.bytes_in for row in rows)
