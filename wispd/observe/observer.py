"""`GatewayObserver`: what the data plane tells becomes records, log entries and counts. Never raises, never waits."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from wispd.base.clock import Clock
from wispd.model.function import Version
from wispd.model.invocation import Invocation, Status
from wispd.observe.allowance import Allowances, lines_in
from wispd.observe.entries import (
    FINISHED,
    FINISHED_BODY,
    FINISHED_SIZE,
    ColdStarted,
    Declared,
    Logged,
    Metered,
    pack_cold,
    pack_declare,
    pack_log,
    pack_metered,
)
from wispd.observe.metrics import ANSWERED_5XX, BUCKET_NS, SUM, GatewayMetrics, Series, add
from wispd.observe.segments import SegmentWriter

LOG_MAX: Final = 1_048_576  # log bytes recorded of one invocation
TRACE_MAX: Final = 65_536
ERROR_MAX: Final = 4_608  # code, newline, message
TEXT_MAX: Final = 262_144  # bytes of one log entry
_SLOTS_MAX: Final = 4096
_EARLY_MAX: Final = 65_536  # invocations with text ahead of their outcome
_U32: Final = 0xFFFF_FFFF
_NO_ID: Final = bytes(16)
_OK: Final = int(Status.OK)
_LIMITED: Final = frozenset({"throttled", "budget_exceeded", "quota_exceeded"})  # of functions that exist
_pack = FINISHED_BODY.pack


class _Slot:
    """What the hot path needs of a version: its number in the segments and its counters."""

    __slots__ = ("declared", "elapsed", "generation", "number", "statuses")

    def __init__(self, declared: Declared, series: Series) -> None:
        self.declared = declared
        self.number = declared.number
        self.generation = 0
        self.statuses = series.statuses
        self.elapsed = series.elapsed


class _Tail(NamedTuple):
    """What only some records have: error, traceback, log, and how many log lines were over the limits."""

    error: bytes
    trace: bytes
    log: bytes
    dropped: int


_NO_TAIL: Final = _Tail(b"", b"", b"", 0)


def _body(invocation: Invocation, number: int, elapsed_ns: int, *, queue_ns: int, tail: _Tail = _NO_TAIL) -> bytes:
    """Return the record's entry."""
    error, trace, log, dropped = tail
    instance = invocation.instance
    body = _pack(
        FINISHED_SIZE + len(error) + len(trace) + len(log),
        FINISHED,
        invocation.status,
        invocation.trigger,
        invocation.cold,
        number,
        invocation.id,
        invocation.received_us,
        elapsed_ns,
        queue_ns,
        invocation.init_ns,
        invocation.run_ns,
        invocation.billed_ns,
        invocation.bytes_in,
        invocation.bytes_out,
        invocation.peak_bytes >> 10,
        invocation.memory_mib,
        instance.instance & _U32 if instance is not None else 0,
        invocation.log_dropped + dropped,
        len(log),
        len(trace),
        invocation.http_status,
        invocation.attempt,
        len(error),
    )
    return body if tail is _NO_TAIL else b"".join((body, error, trace, log))


class GatewayObserver:
    """Implements `ports.observer.Observer` on a `SegmentWriter` and `GatewayMetrics`.

    Promise: a record is in the segment (and so survives the death of any process) when `finished` returns, or it is
    counted as dropped. `tick` must be called some twenty times a second.
    """

    def __init__(self, writer: SegmentWriter, metrics: GatewayMetrics, clock: Clock) -> None:
        self._writer = writer
        self._metrics = metrics
        self._clock = clock
        self._slots: dict[str, _Slot] = {}
        self._declared = 0
        self._early: dict[bytes, int] = {}  # invocation → log bytes recorded ahead of its outcome
        self._allowances = Allowances()
        self.limited: dict[
            tuple[str, str], int
        ] = {}  # calls above a limit by (namespace, function); taken by the meter
        self._queue = metrics.queue
        metrics.records_dropped = lambda: writer.dropped
        metrics.folded = self._forget

    def finished(self, invocation: Invocation) -> None:
        """Record the invocation's end."""
        try:
            version = invocation.version
            writer = self._writer
            slot = self._slots.get(version.id)
            if slot is None or slot.generation != writer.generation:
                slot = self._declare(version)
            elapsed_ns = invocation.finished_ns - invocation.received_ns
            queue_ns = elapsed_ns - invocation.run_ns - invocation.init_ns
            if queue_ns < 0:  # noqa: PLR1730  (max() costs 60 ns here)
                queue_ns = 0
            slot.statuses[invocation.status] += 1
            if invocation.http_status >= 500 and invocation.status == _OK:
                slot.statuses[ANSWERED_5XX] += 1
            histogram = slot.elapsed
            histogram[(elapsed_ns // BUCKET_NS).bit_length()] += 1
            histogram[SUM] += elapsed_ns
            histogram = self._queue
            histogram[(queue_ns // BUCKET_NS).bit_length()] += 1
            histogram[SUM] += queue_ns
            if invocation.status == _OK and not invocation.log and not self._early:
                body = _body(invocation, slot.number, elapsed_ns, queue_ns=queue_ns)
            else:
                tail = self._tail(invocation)
                body = _body(invocation, slot.number, elapsed_ns, queue_ns=queue_ns, tail=tail)
            if slot.generation != writer.generation or not writer.append(body):
                self._append_next(version, body)
        except Exception:
            self._failed()

    def refused(self, namespace: str, function: str, code: str) -> None:
        """Count a call that was not admitted. Names of such calls are the caller's words: they make no label."""
        self._metrics.error(code)
        if code in _LIMITED and function:
            key = (namespace, function)
            if key in self.limited or len(self.limited) < _SLOTS_MAX:
                self.limited[key] = self.limited.get(key, 0) + 1

    def metered(self, version: Version, *, warm_mib_ms: int, cpu_ns: int, refused: int) -> None:
        """Record what a version used besides its invocations since the last time."""
        try:
            slot = self._declare(version)
            now_us = self._clock.unix_ns() // 1000
            self._append(slot, version, pack_metered(Metered(slot.number, now_us, warm_mib_ms, cpu_ns, refused)))
        except Exception:
            self._failed()

    def cold_started(self, version: Version, start_ns: int, init_ns: int, pooled: bool) -> None:
        try:
            metrics = self._metrics
            add(metrics.cold_pooled if pooled else metrics.cold_forked, start_ns + init_ns)
            slot = self._declare(version)
            now_us = self._clock.unix_ns() // 1000
            self._append(slot, version, pack_cold(ColdStarted(pooled, slot.number, now_us, start_ns, init_ns)))
        except Exception:
            self._failed()

    def instance_log(self, version: Version, instance: int, text: bytes) -> None:
        try:
            self._log(version, instance, instance, _NO_ID, text)
        except Exception:
            self._failed()

    def invocation_log(self, invocation_id: bytes, version: Version, text: bytes) -> None:
        try:
            before = self._early.get(invocation_id, 0)
            room = LOG_MAX - before
            if len(self._early) >= _EARLY_MAX and not before:
                room = 0
            if len(text) > room:
                self._metrics.log_lines_dropped += lines_in(text)
                return
            self._early[invocation_id] = before + len(text)
            self._log(version, version.id, 0, invocation_id, text)
        except Exception:
            self._failed()

    def tick(self) -> None:
        """Prepare what the hot path must not wait for."""
        try:
            self._writer.tick()
            if len(self._slots) > _SLOTS_MAX:
                self._slots.clear()
        except Exception:
            self._failed()

    def _declare(self, version: Version) -> _Slot:
        """Return the version's slot, introduced to the current segment."""
        slot = self._slots.get(version.id)
        if slot is None:
            self._declared += 1
            declared = Declared(self._declared, version.number, version.namespace, version.function, version.id)
            slot = self._slots[version.id] = _Slot(
                declared, self._metrics.series(version.namespace, version.function, version.number)
            )
        writer = self._writer
        if slot.generation != writer.generation:
            entry = pack_declare(slot.declared)
            if writer.append(entry) or (writer.rotate() and writer.append(entry)):
                slot.generation = writer.generation
        return slot

    def _forget(self, series: Series) -> None:
        """These counters are closed: whoever has them is to ask anew."""
        for version_id in [key for key, slot in self._slots.items() if slot.statuses is series.statuses]:
            del self._slots[version_id]

    def _append(self, slot: _Slot, version: Version, body: bytes) -> None:
        if slot.generation != self._writer.generation or not self._writer.append(body):
            self._append_next(version, body)

    def _append_next(self, version: Version, body: bytes) -> None:
        """Go on in the next segment, or drop the entry: without its version declared, nobody could read it."""
        writer = self._writer
        if writer.rotate() and self._declare(version).generation == writer.generation and writer.append(body):
            return
        writer.drop()

    def _tail(self, invocation: Invocation) -> _Tail:
        """Return what a record has besides numbers, within its limits."""
        fault: Any = invocation.error
        error = b""
        if fault is not None:
            self._metrics.error(fault.code)
            invocation.http_status = invocation.http_status or fault.http_status  # what the client was told
            error = f"{fault.code}\n{fault.message}".encode("utf-8", "replace")[:ERROR_MAX]
        room = LOG_MAX - self._early.pop(invocation.id, 0)
        log, dropped = invocation.log, 0
        if log:
            cut = log[:room]
            over = lines_in(log[room:])
            instance = invocation.instance
            source = instance.instance if instance is not None else invocation.version.id
            log, dropped = self._allowances.admit(source, cut, now_ns=invocation.finished_ns)
            dropped += over
            self._metrics.log_lines_dropped += dropped
        return _Tail(error, invocation.trace[:TRACE_MAX], log, dropped)

    def _log(self, version: Version, source: int | str, instance: int, id_: bytes, text: bytes) -> None:
        now_ns = self._clock.monotonic_ns()
        admitted, dropped = self._allowances.admit(source, text, now_ns=now_ns)
        self._metrics.log_lines_dropped += dropped
        slot = self._declare(version)
        for start in range(0, len(admitted), TEXT_MAX):
            piece = admitted[start : start + TEXT_MAX]
            now_us = self._clock.unix_ns() // 1000
            self._append(slot, version, pack_log(Logged(slot.number, id_, now_us, instance & _U32, piece)))

    def _failed(self) -> None:
        """A record could not be made: count it where somebody looks, and let the data plane go on."""
        self._metrics.observer_errors += 1
        self._writer.drop()
