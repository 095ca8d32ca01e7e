"""The reading side of records: one segment file, live or left behind. Reads; never maps, never writes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from wispd.observe.entries import HEADER_SIZE, Declared, End, Entry, FileHeader, parse_file_header, scan

_BLOCK: Final = 1_048_576


class SegmentReader:
    """Follow one segment from `offset` on.

    `versions` holds what the segment declared so far (also ahead of `offset`). `pread`, not a mapping: a file that
    somebody cuts off is then a short read, not a signal.

    Raises: `OSError`; `ValueError` when the file is no segment.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        header = parse_file_header(os.pread(self._descriptor, HEADER_SIZE, 0))
        if header is None:
            os.close(self._descriptor)
            raise ValueError(f"{path.name} does not begin like a segment")
        self.header: FileHeader = header
        self.offset = HEADER_SIZE
        self.versions: dict[int, Declared] = {}
        self.end = End.OPEN
        self._skip(offset)
        self.offset = max(offset, HEADER_SIZE)

    def read(self) -> list[Entry]:
        """Return the next entries, about one MiB, and move on behind them; `end` says why there are no more."""
        return self._advance(self.header.size)

    def read_behind(self, offset: int) -> list[Entry]:
        """Return the next entries that end behind an offset, learning versions from those before it."""
        self._skip(offset)
        return self.read()

    def _skip(self, offset: int) -> None:
        while self.offset < offset:
            before = self.offset
            self._advance(offset)
            if self.offset == before:
                break

    def _advance(self, limit: int) -> list[Entry]:
        rest = limit - self.offset
        found = scan(os.pread(self._descriptor, min(_BLOCK, rest), self.offset))
        if found.end is End.SHORT and not found.consumed and rest > _BLOCK:
            found = scan(os.pread(self._descriptor, rest, self.offset))
        if found.end is End.SHORT and not found.consumed:
            found = found._replace(end=End.DAMAGED)
        self.offset += found.consumed
        self.end = found.end
        for entry in found.entries:
            if isinstance(entry, Declared):
                self.versions[entry.number] = entry
        return found.entries

    def idle(self) -> bool:
        """Is there nothing behind `offset`? One small read."""
        return not any(os.pread(self._descriptor, 8, self.offset))

    def abandoned(self) -> bool:
        """Has the writer let go of this segment (sealed it, or died)? Then nothing more will be written to it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return True

    def sync(self) -> None:
        """Bring what was written so far to the disk."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)
