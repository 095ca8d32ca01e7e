"""From entries of a segment to rows for the store and sums of usage. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from wispd.model.invocation import Status
from wispd.model.record import Batch
from wispd.observe.entries import FLAG_COLD, Declared, Dropped, Entry, Finished, Logged

_OK: Final = int(Status.OK)
_NO_ID: Final = bytes(16)
_UNKNOWN: Final = Declared(0, 0, "", "_unknown", "")  # can't happen: an entry without its declaration


def fold(batch: Batch, entries: Iterable[Entry], versions: Mapping[int, Declared]) -> None:
    """Add entries to `batch`. `versions` is what their segment has declared."""
    for entry in entries:
        if isinstance(entry, Finished):
            _finished(batch, entry, versions.get(entry.number, _UNKNOWN))
        elif isinstance(entry, Logged):
            version = versions.get(entry.number, _UNKNOWN)
            invocation = entry.id if entry.id != _NO_ID else None
            _log(batch, version, (invocation, version.version, entry.instance, entry.time_us, _text(entry.text)))
        elif isinstance(entry, Dropped):
            minute = entry.time_us // 60_000_000
            batch.dropped[minute] = batch.dropped.get(minute, 0) + entry.records


def _finished(batch: Batch, one: Finished, version: Declared) -> None:
    cold = one.flags & FLAG_COLD
    code, _, message = _text(one.error).partition("\n")
    memory_mib = one.memory_mib
    key = (version.namespace, version.function)
    ended_us = one.received_us + one.elapsed_ns // 1000
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
            _i64(one.received_us),
            _i64(one.elapsed_ns),
            _i64(one.queue_ns),
            _i64(one.init_ns),
            _i64(one.run_ns),
            _i64(one.billed_ns),
            memory_mib << 20,
            one.peak_kib << 10,
            _i64(one.bytes_in),
            _i64(one.bytes_out),
            one.instance,
            one.log_dropped,
            code,
            message,
            _text(one.trace),
        )
    )
    if one.log:
        _log(batch, version, (one.id, version.version, one.instance, _i64(ended_us), _text(one.log)))
    _use(batch, one, version, minute=_i64(ended_us) // 60_000_000)
    batch.count += 1


def _use(batch: Batch, one: Finished, version: Declared, *, minute: int) -> None:
    """Add one invocation to its minute's sums, in the order of `USAGE_COLUMNS`."""
    key = (minute, version.namespace, version.function, version.version)
    sums = batch.usage.get(key)
    if sums is None:
        sums = batch.usage[key] = [0] * 8
    billed_ms = -(-one.billed_ns // 1_000_000)
    sums[0] += 1
    sums[1] += one.status != _OK
    sums[2] += one.flags & FLAG_COLD
    sums[3] += billed_ms
    sums[4] += billed_ms * one.memory_mib
    sums[5] += one.run_ns
    sums[6] += one.bytes_in
    sums[7] += one.bytes_out


def _log(batch: Batch, version: Declared, row: tuple[object, ...]) -> None:
    batch.logs.setdefault((version.namespace, version.function), []).append(row)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace") if raw else ""


def _i64(number: int) -> int:
    """The store's integers are signed."""
    return number & 0x7FFF_FFFF_FFFF_FFFF
