"""Invocations as the gateway would hand them over, and everything between them and the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wispd.adapters.store.records_query import RecordQueries
from wispd.adapters.store.records_retention import Retention
from wispd.app.recording import STORE_NAME, Recorder
from wispd.base.clock import VirtualClock
from wispd.base.ids import id_source
from wispd.model.function import Version
from wispd.model.invocation import Invocation, Status
from wispd.observe.metrics import GatewayMetrics
from wispd.observe.observer import GatewayObserver
from wispd.observe.segments import SegmentWriter

MS = 1_000_000


class Sized:
    """The one thing an observer asks of a pool."""

    memory_bytes = 256 * 1024 * 1024


class Numbered:
    """The one thing an observer asks of a channel."""

    def __init__(self, instance: int) -> None:
        self.instance = instance
        self.memory_bytes = Sized().memory_bytes


def version(name: str = "hello", *, number: int = 1, namespace: str = "default") -> Version:
    return Version(
        id=f"ver_{namespace}_{name}_{number}",
        namespace=namespace,
        function=name,
        number=number,
        code="",
        handler="m:f",
    )


class World:
    """A gateway's observer on virtual time, and a recorder beside it."""

    def __init__(self, folder: Path, *, kept: Retention | None = None, **writer: Any) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.writer = SegmentWriter(folder, self.clock, **writer)
        self.metrics = GatewayMetrics()
        self.observer = GatewayObserver(self.writer, self.metrics, self.clock)
        self.recorder = Recorder(folder, self.clock, kept)
        self.queries = RecordQueries(folder / STORE_NAME)
        self.make_id = id_source(self.clock)

    def invocation(self, of: Version | None = None, *, run_ms: float = 2.5, **fields: Any) -> Invocation:
        """Return one that has ended; `fields` override."""
        one = Invocation(
            1,
            self.make_id(),
            of or version(),
            None,  # type: ignore[arg-type]  # nobody answers
            received_ns=self.clock.monotonic_ns(),
            received_us=self.clock.unix_ns() // 1000,
            deadline_ns=0,
            frame=b"",
            bytes_in=10,
        )
        one.status, one.http_status, one.bytes_out = Status.OK, 200, 20
        one.run_ns = one.billed_ns = int(run_ms * MS)
        one.finished_ns = one.received_ns + one.run_ns + MS
        one.pool, one.instance = Sized(), Numbered(7)
        for name, value in fields.items():
            setattr(one, name, value)
        return one

    def finish(self, count: int = 1, of: Version | None = None, **fields: Any) -> Invocation:
        """Let that many invocations end, a millisecond apart; return the last."""
        for _ in range(count):
            self.clock.advance(0.001)
            one = self.invocation(of, **fields)
            self.observer.finished(one)
        return one

    def close(self) -> None:
        self.writer.close()
        self.recorder.close()
        self.queries.close()
