"""Recording: from the gateway's segments to the store, again and again. What the recorder process does.

One pass reads every segment from where it was left, commits block by block, and removes segments that are read to
their end. It holds nothing that a restart would miss: where it is stands in the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from wispd.adapters.store.records import RecordStore
from wispd.adapters.store.records_retention import Retention
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.model.record import Batch, Position, RecorderStatus
from wispd.observe.entries import HEADER_SIZE, End, Entry
from wispd.observe.folding import fold
from wispd.observe.reading import SegmentReader
from wispd.observe.segments import UNBORN, list_segments, segment_name

STORE_NAME: Final = "records.db"
LOCK_NAME: Final = "records.lock"
BEHIND_SEGMENTS: Final = 3
_SYNC_NS: Final = 1_000_000_000
_EXPIRE_NS: Final = 600_000_000_000
_UNBORN_AGE_S: Final = 60.0


class Recorder:
    """Reads `folder`/*.seg into `folder`/records.db. One per folder: a second one waits for the first one's death."""

    def __init__(self, folder: Path, clock: Clock, kept: Retention | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._clock = clock
        self._kept = kept
        self._lock = -1
        self._store: RecordStore | None = None
        self._positions: dict[tuple[int, int], int] = {}
        self._readers: dict[tuple[int, int], SegmentReader] = {}
        self._synced_ns = clock.monotonic_ns()
        self._expire_ns = 0
        self._fault: Fault | None = None
        self._indexed = 0
        self._unsealed = 0
        self._damaged = 0
        self._unreadable = 0

    def pass_once(self) -> int:
        """Index everything that was committed when this began; return how many invocations that were.

        A full disk or another fault of the store ends the pass, shows in `status`, and is tried again next time.
        """
        before = self._indexed
        try:
            self._open_store()
            for key in list_segments(self._folder):
                self._index(key)
            self._expire()
            self._fault = None
        except Fault as fault:
            self._fault = fault
        except OSError as error:
            self._fault = Fault("unavailable", f"segments can't be read: {error}")
        if self._fault is not None:
            self._reset()
            self._sync()
        return self._indexed - before

    @property
    def behind(self) -> bool:
        """Does more wait than the segment that is being written and the one before it?"""
        return len(list_segments(self._folder)) > BEHIND_SEGMENTS

    def status(self) -> RecorderStatus:
        """Return how it goes."""
        waiting = list_segments(self._folder)
        return RecorderStatus(
            state=self._fault.code if self._fault else "ok",
            message=self._fault.message if self._fault else "",
            indexed=self._indexed,
            segments=len(waiting),
            unsealed=self._unsealed,
            damaged=self._damaged,
            unreadable=self._unreadable,
        )

    def close(self) -> None:
        """Let go of the store, all segments and the folder."""
        self._reset()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _open_store(self) -> None:
        if self._store is not None:
            return
        self._take_lock()
        self._store = RecordStore(self._folder / STORE_NAME, self._kept)
        self._positions = self._store.positions()
        present = set(list_segments(self._folder))
        for key in set(self._positions) - present:
            self._store.forget(*key)
            del self._positions[key]
        self._clear_unborn()

    def _take_lock(self) -> None:
        """Positions are only true for one reader: hold the folder's lock from now on."""
        if self._lock >= 0:
            return
        descriptor = os.open(self._folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise Fault("unavailable", "another recorder reads this folder") from error
        self._lock = descriptor

    def _index(self, key: tuple[int, int]) -> None:
        """Read one segment as far as it goes."""
        reader = self._reader(key)
        if reader is None or (reader.idle() and not reader.abandoned()):
            return
        while True:
            entries = reader.read()
            if entries:
                self._commit(key, reader, entries)
            if reader.end is End.SHORT:
                continue
            if reader.end is End.SEALED:
                break
            if not reader.abandoned():
                return  # live: nothing more, or an entry that is just being written
            if not (entries := reader.read()):  # what came between the reading and the writer's end
                self._broke_off(reader)
                break
            self._commit(key, reader, entries)
        self._remove(key)

    def _broke_off(self, reader: SegmentReader) -> None:
        """Count a segment that was not sealed: its writer was killed, perhaps in the middle of an entry."""
        self._unsealed += reader.offset > HEADER_SIZE
        self._damaged += reader.end is End.DAMAGED

    def _commit(self, key: tuple[int, int], reader: SegmentReader, entries: list[Entry]) -> None:
        """Store one block."""
        assert self._store is not None
        batch = Batch(node_id=reader.header.node_id, epoch=key[0])
        fold(batch, entries, reader.versions)
        self._store.commit(batch, Position(epoch=key[0], number=key[1], offset=reader.offset))
        self._positions[key] = reader.offset
        self._indexed += batch.count
        if self._clock.monotonic_ns() - self._synced_ns > _SYNC_NS:
            self._sync()

    def _reader(self, key: tuple[int, int]) -> SegmentReader | None:
        """Return the segment's reader; a file that is no segment is set aside."""
        found = self._readers.get(key)
        if found is not None:
            return found
        path = self._folder / segment_name(*key)
        try:
            found = SegmentReader(path, self._positions.get(key, 0))
        except FileNotFoundError:
            return None
        except ValueError:
            path.rename(path.with_suffix(".unreadable"))
            self._unreadable += 1
            return None
        self._readers[key] = found
        return found

    def _remove(self, key: tuple[int, int]) -> None:
        """Delete a segment that is read to its end. First the file, then its position: never the other way round."""
        assert self._store is not None
        reader = self._readers.pop(key)
        reader.path.unlink(missing_ok=True)
        reader.close()
        if self._positions.pop(key, None) is not None:
            self._store.forget(*key)

    def _sync(self) -> None:
        """While behind: bring what is not yet indexed to the disk, so that a power loss costs a second at most."""
        self._synced_ns = self._clock.monotonic_ns()
        for key in list_segments(self._folder):
            with contextlib.suppress(OSError):
                descriptor = os.open(self._folder / segment_name(*key), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)

    def _expire(self) -> None:
        """Delete what is older than is kept, a slice at a time."""
        now_ns = self._clock.monotonic_ns()
        if (
            self._store is not None
            and now_ns >= self._expire_ns
            and not self._store.expire(self._clock.unix_ns() // 1000)
        ):
            self._expire_ns = now_ns + _EXPIRE_NS

    def _clear_unborn(self) -> None:
        """Delete what a writer that was killed while it preallocated has left."""
        oldest = self._clock.unix_ns() / 1e9 - _UNBORN_AGE_S
        for path in self._folder.glob(f"*{UNBORN}"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def _reset(self) -> None:
        """Forget everything; the next pass begins from what the store says."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        if self._store is not None:
            self._store.close()
            self._store = None
