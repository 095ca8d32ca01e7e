"""The writing side of records: preallocated, memory-mapped segment files.

One writer per gateway process, in its one thread. `append` copies an entry and then writes its CRC: whatever moment
the process is killed at, the segment holds a clean prefix, because the pages belong to the kernel. Space is reserved
before a segment is used, so a full disk shows here as a missing segment (records are dropped and counted), never as
a signal. A segment is locked (flock) for as long as its writer lives and may write to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from msgspec import Struct as Shape

from wispd.base.clock import Clock
from wispd.observe import entries

SEGMENT_BYTES: Final = 4 * 1024 * 1024
SEGMENTS_MAX: Final = 128  # segments not yet indexed, of all writers; beyond it records are dropped
SUFFIX: Final = ".seg"
UNBORN: Final = ".new"  # being preallocated: not yet locked, so not to be looked at
_RETRY_NS: Final = 1_000_000_000  # between attempts to get a segment after a failure
_PIECE: Final = 262_144  # bytes of the next segment faulted in per tick
_POPULATE_WRITE: Final = 23  # MADV_POPULATE_WRITE, Linux 5.14; source: madvise(2)
_commit = Struct("<I").pack_into


def segment_name(epoch: int, number: int) -> str:
    """Return the file name; names sort in the order of writing."""
    return f"{epoch:016x}-{number:08x}{SUFFIX}"


def parse_name(name: str) -> tuple[int, int] | None:
    """Return (epoch, number), or None when it is no segment's name."""
    epoch, _, rest = name.partition("-")
    number, dot, _ = rest.partition(".")
    if not name.endswith(SUFFIX) or len(epoch) != 16 or len(number) != 8 or not dot:
        return None
    try:
        parsed = int(epoch, 16), int(number, 16)
    except ValueError:
        return None
    return parsed if segment_name(*parsed) == name else None


def list_segments(folder: Path) -> list[tuple[int, int]]:
    """Return (epoch, number) of all segments, oldest first."""
    return sorted(found for found in map(parse_name, os.listdir(folder)) if found)


class WriterStatistics(Shape, frozen=True, kw_only=True):
    """What the writer did, and why it can't go on if it can't."""

    epoch: int
    segments: int
    dropped: int
    blocked: str  # "" or why there is no segment to write to


class _Segment:
    """One open segment file."""

    __slots__ = ("descriptor", "map", "path", "populated")

    def __init__(self, path: Path, descriptor: int, map_: mmap.mmap) -> None:
        self.path = path
        self.descriptor = descriptor
        self.map = map_
        self.populated = 0

    def populate(self, piece: int) -> None:
        """Fault the next pages in, so that the hot path does not."""
        if self.populated < len(self.map):
            with contextlib.suppress(OSError, ValueError):  # an older kernel: the pages fault in when written
                self.map.madvise(_POPULATE_WRITE, self.populated, min(piece, len(self.map) - self.populated))
            self.populated += piece

    def close(self) -> None:
        """Give the lock up: nothing will be written here again."""
        self.map.close()
        os.close(self.descriptor)


class SegmentWriter:
    """Append entries to the current segment. `generation` changes with every new segment: declare again then.

    `append` costs about 0.3 µs plus the copy. It returns False where there is no room; the caller then may `rotate`
    once and append again, or gives the record up with `drop`. Nothing here raises.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        node_id: bytes = bytes(16),
        segment_bytes: int = SEGMENT_BYTES,
        segments_max: int = SEGMENTS_MAX,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._clock = clock
        self._node_id = node_id
        self._size = max(segment_bytes, 4 * mmap.PAGESIZE)
        self._segments_max = segments_max
        self._number = 0
        self._next: _Segment | None = None
        self._current: _Segment | None = None
        self._retry_ns = 0
        self._unmarked = 0  # dropped since the last mark
        self.epoch = self._new_epoch()
        self.generation = 0
        self.dropped = 0
        self.blocked = ""
        self._map: mmap.mmap | None = None
        self._offset = 0
        self._limit = -1  # where the last entry must end; -1: no segment
        self.rotate()

    @property
    def position(self) -> tuple[int, int]:
        """Number of the segment being written, and the offset that is committed."""
        return self.generation - 1, self._offset

    @property
    def entry_max(self) -> int:
        """Bytes of the largest entry a fresh segment takes, with its declaration."""
        return min(entries.ENTRY_MAX, self._size - entries.HEADER_SIZE - entries.SEALED_SIZE - 1024)

    def append(self, body: bytes) -> bool:
        """Commit one entry (as packed by `entries`, without its CRC)."""
        offset = self._offset
        start = offset + 4
        end = start + len(body)
        if end > self._limit:
            return False
        map_ = self._map
        map_[start:end] = body  # type: ignore[index]  # a limit above 0 means there is a map
        _commit(map_, offset, crc32(body))  # type: ignore[arg-type]
        self._offset = end
        return True

    def rotate(self) -> bool:
        """Seal the segment and go on with the next one; False where there is none to be had."""
        upcoming = self._next or self._create()
        self._next = None
        if upcoming is None:
            return False  # the current one stays: smaller entries may still fit
        self._seal()
        self._current = upcoming
        self._map = upcoming.map
        self._offset = entries.HEADER_SIZE
        self._limit = self._size - entries.SEALED_SIZE
        self.generation += 1
        self._mark_dropped()
        return True

    def drop(self, count: int = 1) -> None:
        """Count records that could not be written; the next segment begins with a mark."""
        self.dropped += count
        self._unmarked += count

    def tick(self) -> None:
        """Prepare the next segment ahead of need. Call it some twenty times a second, off the invocation path."""
        if self._unmarked and self._map is not None and self._offset + 64 < self._limit:
            self._mark_dropped()
        if self._next is not None:
            self._next.populate(_PIECE)
        elif self._map is None:
            self.rotate()
        elif self._offset * 4 >= self._size * 3 or self._unmarked:
            self._next = self._create()

    def close(self) -> None:
        """Seal the segment; the writer takes nothing any more."""
        self._seal()
        self._current = None
        self._map = None
        self._limit = -1
        if self._next is not None:
            self._next.close()
            self._next.path.unlink(missing_ok=True)
            self._next = None

    def statistics(self) -> WriterStatistics:
        return WriterStatistics(epoch=self.epoch, segments=self._number, dropped=self.dropped, blocked=self.blocked)

    def _new_epoch(self) -> int:
        """Return a number that no earlier writer of this folder had, even if the clock went back."""
        seen = [epoch for epoch, _ in list_segments(self._folder)]
        return max([self._clock.unix_ns() // 1000, *(epoch + 1 for epoch in seen)])

    def _seal(self) -> None:
        if self._current is not None and self._map is not None:
            body = entries.pack_sealed()
            self._map[self._offset + 4 : self._offset + 4 + len(body)] = body
            _commit(self._map, self._offset, crc32(body))
            self._current.close()

    def _mark_dropped(self) -> None:
        if self._unmarked and self.append(
            entries.pack_dropped(entries.Dropped(self._unmarked, self._clock.unix_ns() // 1000))
        ):
            self._unmarked = 0

    def _create(self) -> _Segment | None:
        """Preallocate a segment; None (and `blocked` says why) where that can't be, tried again after a second."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._retry_ns:
            return None
        try:
            waiting = len(list_segments(self._folder))
            if waiting >= self._segments_max:
                raise OSError(f"{waiting} segments wait to be indexed, limit {self._segments_max}")
            segment = self._open()
        except OSError as error:
            self.blocked = error.strerror or str(error)
            self._retry_ns = now_ns + _RETRY_NS
            return None
        self.blocked = ""
        return segment

    def _open(self) -> _Segment:
        """Make the file complete and locked under a name nobody reads, then give it its own."""
        path = self._folder / segment_name(self.epoch, self._number)
        unborn = path.with_suffix(UNBORN)
        descriptor = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(descriptor, 0, self._size)
            header = entries.pack_file_header(
                self.epoch,
                self._number,
                self._size,
                created_us=self._clock.unix_ns() // 1000,
                node_id=self._node_id,
            )
            os.pwrite(descriptor, header, 0)
            map_ = mmap.mmap(descriptor, self._size)
            unborn.rename(path)
        except OSError:
            os.close(descriptor)
            unborn.unlink(missing_ok=True)
            raise
        self._number += 1
        return _Segment(path, descriptor, map_)
