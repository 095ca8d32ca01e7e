"""From entries of a segment to rows for the store and sums of usage. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from wispd.model.invocation import Status
from wispd.model.record import Batch
from wispd.observe.entries import FLAG_COLD, Declared, Dropped, Entry, Finished, Logged

_OK: Final = int(Status.OK)
_NO_ID: Final = bytes(16)
_NUMBER_MAX: Final = 1 << 52  # 52 days in ns, 4 PiB in bytes, the year 2112 in µs
_UNKNOWN: Final = Declared(0, 0, "", "_unknown", "")  # can't happen: an entry without its declaration


def fold(batch: Batch, entries: Iterable[Entry], versions: Mapping[int, Declared]) -> None:
    """Add entries to `batch`. `versions` is what their segment has declared."""
    for entry in entries:
        if isinstance(entry, Finished):
            _finished(batch, entry, versions.get(entry.number, _UNKNOWN))
        elif isinstance(entry, Logged):
            version = versions.get(entry.number, _UNKNOWN)
            invocation = entry.id if entry.id != _NO_ID else None
            _log(
                batch,
                version,
                (invocation, version.version, entry.instance, _bounded(entry.time_us), _text(entry.text)),
            )
        elif isinstance(entry, Dropped):
            minute = _bounded(entry.time_us) // 60_000_000
            batch.dropped[minute] = batch.dropped.get(minute, 0) + _bounded(entry.records)


def _finished(batch: Batch, one: Finished, version: Declared) -> None:
    cold = one.flags & FLAG_COLD
    code, _, message = _text(one.error).partition("\n")
    memory_mib = one.memory_mib
    key = (version.namespace, version.function)
    ended_us = _bounded(one.received_us + one.elapsed_ns // 1000)
    rows = batch.records.get(key)
    if rows is None:
        rows = batch.records[key] = []
    rows.append(
        (
            one.id,
            one.attempt,
            version.version,
            one.status,
            one.http_status,
            one.trigger,
            cold,
            _bounded(one.received_us),
            _bounded(one.elapsed_ns),
            _bounded(one.queue_ns),
            _bounded(one.init_ns),
            _bounded(one.run_ns),
            _bounded(one.billed_ns),
            memory_mib << 20,
            one.peak_kib << 10,
            _bounded(one.bytes_in),
            _bounded(one.bytes_out),
            one.instance,
            one.log_dropped,
            code,
            message,
            _text(one.trace),
        )
    )
    if one.log:
        _log(batch, version, (one.id, version.version, one.instance, ended_us, _text(one.log)))
    _use(batch, one, version, minute=ended_us // 60_000_000)
    batch.count += 1


def _use(batch: Batch, one: Finished, version: Declared, *, minute: int) -> None:
    """Add one invocation to its minute's sums, in the order of `USAGE_COLUMNS`."""
    key = (minute, version.namespace, version.function, version.version)
    sums = batch.usage.get(key)
    if sums is None:
        sums = batch.usage[key] = [0] * 8
    billed_ms = -(-_bounded(one.billed_ns) // 1_000_000)
    sums[0] += 1
    sums[1] += one.status != _OK
    sums[2] += one.flags & FLAG_COLD
    sums[3] += billed_ms
    sums[4] += _bounded(billed_ms * one.memory_mib)
    sums[5] += _bounded(one.run_ns)
    sums[6] += _bounded(one.bytes_in)
    sums[7] += _bounded(one.bytes_out)


def _log(batch: Batch, version: Declared, row: tuple[object, ...]) -> None:
    batch.logs.setdefault((version.namespace, version.function), []).append(row)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace") if raw else ""


def _bounded(number: int) -> int:
    """Return what the store's signed integers can hold and add up; real figures are far below."""
    return min(number, _NUMBER_MAX)
