"""From entries of a segment to rows for the store and sums of usage. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from wispd.model.invocation import Status
from wispd.model.profile import Profile, bucket_of
from wispd.model.record import USAGE_COLUMNS, Batch
from wispd.observe.entries import FLAG_COLD, Declared, Dropped, Entry, Finished, Logged, Metered

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
        elif isinstance(entry, Metered):
            _metered(batch, entry, versions.get(entry.number, _UNKNOWN))
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
    """Add one invocation to its minute's sums, in the order of `USAGE_COLUMNS`, and to its profile."""
    sums = _sums(batch, version, minute)
    billed_ms = -(-_bounded(one.billed_ns) // 1_000_000)
    mib_ms = _bounded(billed_ms * one.memory_mib)
    run_ns, bytes_out = _bounded(one.run_ns), _bounded(one.bytes_out)
    failed = one.status != _OK
    cold = one.flags & FLAG_COLD
    sums[0] += 1
    sums[1] += failed
    sums[2] += cold
    sums[3] += billed_ms
    sums[4] += mib_ms
    sums[5] += run_ns
    sums[6] += _bounded(one.bytes_in)
    sums[7] += bytes_out
    profile = _profile(batch, version, minute)
    delay_ns = max(_bounded(one.elapsed_ns) - run_ns, 0)
    counts = profile.sums
    counts[0] += 1
    counts[1] += failed
    counts[2] += cold
    counts[3] += one.attempt > 1
    counts[5] += run_ns
    counts[6] += delay_ns
    counts[7] += max(run_ns - _bounded(one.billed_ns), 0)
    counts[8] += mib_ms
    counts[10] += bytes_out
    profile.peak_bytes = max(profile.peak_bytes, one.peak_kib << 10)
    bucket = bucket_of(run_ns)
    profile.run[bucket] = profile.run.get(bucket, 0) + 1
    bucket = bucket_of(delay_ns)
    profile.delay[bucket] = profile.delay.get(bucket, 0) + 1


def _metered(batch: Batch, one: Metered, version: Declared) -> None:
    """Add what was used besides invocations."""
    minute = _bounded(one.time_us) // 60_000_000
    warm = _bounded(one.warm_mib_ms)
    if warm or one.cpu_ns:
        sums = _sums(batch, version, minute)
        sums[8] += _bounded(one.cpu_ns)
        sums[9] += warm
    if warm or one.refused:
        profile = _profile(batch, version, minute)
        profile.sums[4] += _bounded(one.refused)
        profile.sums[9] += warm


def _sums(batch: Batch, version: Declared, minute: int) -> list[int]:
    key = (minute, version.namespace, version.function, version.version)
    found = batch.usage.get(key)
    if found is None:
        found = batch.usage[key] = [0] * len(USAGE_COLUMNS)
    return found


def _profile(batch: Batch, version: Declared, minute: int) -> Profile:
    key = (minute, version.namespace, version.function)
    found = batch.profiles.get(key)
    if found is None:
        found = batch.profiles[key] = Profile()
    return found


def _log(batch: Batch, version: Declared, row: tuple[object, ...]) -> None:
    batch.logs.setdefault((version.namespace, version.function), []).append(row)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace") if raw else ""


def _bounded(number: int) -> int:
    """Return what the store's signed integers can hold and add up; real figures are far below."""
    return min(number, _NUMBER_MAX)
