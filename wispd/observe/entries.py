"""Entries of a record segment: their bytes, and how to read them back. Pure; ``docs/records.md`` draws them.

    offset  size  field
    0       4     CRC-32 of everything behind it (zlib), written last: an entry without it does not exist
    4       4     length of the whole entry
    8       1     kind
    9       3     meaning depends on the kind
    12      4     number of the version, see DECLARE

All integers are little-endian. `pack_*` return an entry without its CRC: `SegmentWriter.append` adds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

MAGIC: Final = b"WISPSEG\x01"
FILE_HEADER: Final = Struct("<8sQII Q16s8xII")  # magic, epoch, number, bytes, created µs, node id, -, 0, CRC-32
HEADER_SIZE: Final = FILE_HEADER.size

DECLARE: Final = 1  # a version and its number, before its first use in the segment
FINISHED: Final = 2  # an invocation ended
LOG: Final = 3  # log text ahead of an outcome, or of no invocation
COLD: Final = 4  # an instance became ready
DROPPED: Final = 5  # this many records could not be written before this point
SEALED: Final = 6  # nothing follows: the writer went on to the next segment, or ended in order
METERED: Final = 7  # what a version used besides its invocations

_PREFIX: Final = Struct("<IIBBBBI")
_CRC_SIZE: Final = 4
DECLARE_BODY: Final = Struct("<IB3xIIHHH2x")
FINISHED_BODY: Final = Struct("<IBBBBI16sQQQQQQQQIIIIIIHHHxx")
LOG_BODY: Final = Struct("<IB3xI16sQII")
COLD_BODY: Final = Struct("<IBB2xIQQQ")
DROPPED_BODY: Final = Struct("<IB3xIQQ")
SEALED_BODY: Final = Struct("<IB3xI")
METERED_BODY: Final = Struct("<IB3xIQQQQ")

FINISHED_SIZE: Final = _CRC_SIZE + FINISHED_BODY.size
SEALED_SIZE: Final = _CRC_SIZE + SEALED_BODY.size
ENTRY_MAX: Final = 1_310_720  # 1 MiB of log, a traceback, an error, and room

FLAG_COLD: Final = 1


class Declared(NamedTuple):
    """A version of a function, introduced to the entries that follow."""

    number: int
    version: int
    namespace: str
    function: str
    version_id: str


class Finished(NamedTuple):
    """An invocation ended. `error` is "code\\nmessage" or empty."""

    status: int
    trigger: int
    flags: int
    number: int
    id: bytes
    received_us: int
    elapsed_ns: int
    queue_ns: int
    init_ns: int
    run_ns: int
    billed_ns: int
    bytes_in: int
    bytes_out: int
    peak_kib: int
    memory_mib: int
    instance: int
    log_dropped: int
    http_status: int
    attempt: int
    error: bytes
    trace: bytes
    log: bytes


class Logged(NamedTuple):
    """Log text. `id` is sixteen zero bytes where it belongs to no invocation."""

    number: int
    id: bytes
    time_us: int
    instance: int
    text: bytes


class ColdStarted(NamedTuple):
    """An instance became ready."""

    pooled: bool
    number: int
    time_us: int
    start_ns: int
    init_ns: int


class Dropped(NamedTuple):
    """Records that could not be written."""

    records: int
    time_us: int


class Metered(NamedTuple):
    """What a version used since the last such entry, besides its invocations."""

    number: int
    time_us: int
    warm_mib_ms: int  # of idle instances that are kept
    cpu_ns: int
    refused: int  # calls above a limit


Entry = Declared | Finished | Logged | ColdStarted | Dropped | Metered


class End(Enum):
    """Why a scan stopped."""

    OPEN = "open"  # nothing committed beyond this point (yet)
    SHORT = "short"  # the block ends inside an entry: read further
    SEALED = "sealed"  # nothing will follow
    DAMAGED = "damaged"  # bytes that are no entry, or one that is being written at this moment


class Scan(NamedTuple):
    """The entries of a block, and where they end."""

    entries: list[Entry]
    consumed: int
    end: End


def pack_declare(declared: Declared) -> bytes:
    """Return the entry that introduces a version."""
    names = [text.encode()[:65_535] for text in (declared.namespace, declared.function, declared.version_id)]
    tail = b"".join(names)
    size = _CRC_SIZE + DECLARE_BODY.size + len(tail)
    return DECLARE_BODY.pack(size, DECLARE, declared.number, declared.version, *map(len, names)) + tail


def pack_log(logged: Logged) -> bytes:
    """Return the entry of a piece of log text."""
    size = _CRC_SIZE + LOG_BODY.size + len(logged.text)
    return LOG_BODY.pack(size, LOG, *logged[:4], len(logged.text)) + logged.text


def pack_cold(cold: ColdStarted) -> bytes:
    """Return the entry of a cold start."""
    return COLD_BODY.pack(_CRC_SIZE + COLD_BODY.size, COLD, *cold)


def pack_dropped(dropped: Dropped) -> bytes:
    """Return the mark of records that are missing here."""
    return DROPPED_BODY.pack(_CRC_SIZE + DROPPED_BODY.size, DROPPED, 0, *dropped)


def pack_metered(metered: Metered) -> bytes:
    """Return the entry of what was used besides invocations."""
    return METERED_BODY.pack(_CRC_SIZE + METERED_BODY.size, METERED, *metered)


def pack_sealed() -> bytes:
    """Return the last entry of a segment."""
    return SEALED_BODY.pack(SEALED_SIZE, SEALED, 0)


def pack_file_header(epoch: int, number: int, size: int, *, created_us: int, node_id: bytes) -> bytes:
    """Return the first `HEADER_SIZE` bytes of a segment."""
    raw = FILE_HEADER.pack(MAGIC, epoch, number, size, created_us, node_id, 0, 0)[:-4]
    return raw + crc32(raw).to_bytes(4, "little")


class FileHeader(NamedTuple):
    """Who wrote a segment, and when."""

    epoch: int
    number: int
    size: int
    created_us: int
    node_id: bytes


def parse_file_header(raw: bytes) -> FileHeader | None:
    """Return the header, or None when these are not the first bytes of a segment."""
    if len(raw) < HEADER_SIZE:
        return None
    magic, epoch, number, size, created_us, node_id, _, crc = FILE_HEADER.unpack_from(raw)
    if magic != MAGIC or crc != crc32(raw[: HEADER_SIZE - 4]):
        return None
    return FileHeader(epoch, number, size, created_us, node_id)


def scan(block: bytes, start: int = 0) -> Scan:
    """Return the entries from `start` on, in order. Never raises, whatever the bytes; O(len(block)).

    An entry of an unknown kind with a good CRC is skipped: a newer writer wrote it.
    """
    entries: list[Entry] = []
    offset, size = start, len(block)
    view = memoryview(block)
    while True:
        if size - offset < _PREFIX.size:
            return Scan(entries, offset, End.SHORT)
        crc, length, kind, *_ = _PREFIX.unpack_from(block, offset)
        if length == 0:
            return Scan(entries, offset, End.OPEN)
        end = offset + length
        if length < _PREFIX.size or length > ENTRY_MAX:
            return Scan(entries, offset, End.DAMAGED)
        if end > size:
            return Scan(entries, offset, End.SHORT)
        if crc32(view[offset + _CRC_SIZE : end]) != crc:
            return Scan(entries, offset, End.DAMAGED)
        if kind == SEALED:
            return Scan(entries, offset, End.SEALED)
        entry = _READERS[kind](block, offset, end) if kind in _READERS else None
        if entry is None and kind in _READERS:
            return Scan(entries, offset, End.DAMAGED)
        if entry is not None:
            entries.append(entry)
        offset = end


def cuts(block: bytes, start: int = 0) -> Iterator[int]:
    """Yield where each committed entry ends (for tests and tools)."""
    offset = start
    while len(block) - offset >= _PREFIX.size:
        length: int = _PREFIX.unpack_from(block, offset)[1]
        if length < _PREFIX.size or offset + length > len(block):
            return
        offset += length
        yield offset


def _finished(block: bytes, offset: int, end: int) -> Finished | None:
    if end - offset < FINISHED_SIZE:
        return None
    fields = FINISHED_BODY.unpack_from(block, offset + _CRC_SIZE)
    log_size, trace_size, error_size = fields[19], fields[20], fields[23]
    error_at = offset + FINISHED_SIZE
    trace_at = error_at + error_size
    log_at = trace_at + trace_size
    if log_at + log_size != end:
        return None
    tail = (block[error_at:trace_at], block[trace_at:log_at], block[log_at:end])
    return Finished._make(fields[2:19] + fields[21:23] + tail)


def _declared(block: bytes, offset: int, end: int) -> Declared | None:
    at = offset + _CRC_SIZE + DECLARE_BODY.size
    if at > end:
        return None
    _, _, number, version, *sizes = DECLARE_BODY.unpack_from(block, offset + _CRC_SIZE)
    if at + sum(sizes) != end:
        return None
    names = []
    for size in sizes:
        names.append(block[at : at + size].decode("utf-8", "replace"))
        at += size
    return Declared(number, version, *names)


def _logged(block: bytes, offset: int, end: int) -> Logged | None:
    at = offset + _CRC_SIZE + LOG_BODY.size
    if at > end:
        return None
    _, _, number, id_, time_us, instance, size = LOG_BODY.unpack_from(block, offset + _CRC_SIZE)
    return Logged(number, id_, time_us, instance, block[at:end]) if at + size == end else None


def _cold(block: bytes, offset: int, end: int) -> ColdStarted | None:
    if offset + _CRC_SIZE + COLD_BODY.size != end:
        return None
    _, _, pooled, number, time_us, start_ns, init_ns = COLD_BODY.unpack_from(block, offset + _CRC_SIZE)
    return ColdStarted(bool(pooled), number, time_us, start_ns, init_ns)


def _dropped(block: bytes, offset: int, end: int) -> Dropped | None:
    if offset + _CRC_SIZE + DROPPED_BODY.size != end:
        return None
    _, _, _, records, time_us = DROPPED_BODY.unpack_from(block, offset + _CRC_SIZE)
    return Dropped(records, time_us)


def _metered(block: bytes, offset: int, end: int) -> Metered | None:
    if offset + _CRC_SIZE + METERED_BODY.size != end:
        return None
    return Metered._make(METERED_BODY.unpack_from(block, offset + _CRC_SIZE)[2:])


_READERS: Final = {
    DECLARE: _declared,
    FINISHED: _finished,
    LOG: _logged,
    COLD: _cold,
    DROPPED: _dropped,
    METERED: _metered,
}
