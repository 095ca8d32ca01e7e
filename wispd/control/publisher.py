"""The writer of the publication journal: what is appended is on the disk before anybody is told.

The journal is derived from the store. It is written anew (whole, by rename) when it is not what the store says as
control starts, when most of its lines are stale, and when an append failed half-way: then it could say less, or more,
than the store.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from wispd.base.errors import Fault
from wispd.control.packaging import sync_path
from wispd.model.published import JOURNAL_NAME, Entry, encode
from wispd.ports.catalogue import StorageFailed

FOLDER: Final = "published"
STALE_LINES_MIN: Final = 10_000  # below it a rewrite saves nothing worth having
_BUFFER: Final = 1024 * 1024

Source = Callable[[], Iterable[Entry]]  # all that is in force, from the store; streamed


class Publisher:
    """Appends entries; one process and one thread at a time. `source` yields what a whole journal holds."""

    def __init__(self, data_dir: Path, source: Source) -> None:
        self._folder = data_dir / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._path = self._folder / JOURNAL_NAME
        self._source = source
        self._fd = -1
        self._lines = 0  # in the file
        self._needed = 0  # of them when it was last written whole
        self.offset = 0

    def open(self) -> int:
        """Take the journal as it is when it says what the store does, byte by byte; else write it anew.

        A gateway that has read it then has nothing to read again, which is what makes a large node start quickly.
        Raises: what `compact` does.
        """
        lines = self._lines_if_current()
        if lines < 0:
            return self.compact()
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            os.fdatasync(self._fd)
            self.offset = os.fstat(self._fd).st_size
        except OSError as error:
            self.close()
            raise _told(error) from error
        self._lines = self._needed = lines
        return self.offset

    def compact(self) -> int:
        """Write the whole journal anew; returns its length in bytes.

        Raises: `Fault` `storage_full`, `StorageFailed`; the old journal stays in force then. O(functions).
        """
        self.close()
        temporary = self._path.with_suffix(".new")
        try:
            lines = self._write_whole(temporary)
            os.rename(temporary, self._path)
            sync_path(self._folder)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self.offset = os.fstat(self._fd).st_size
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _told(error) from error
        self._lines = self._needed = lines
        return self.offset

    def append(self, entries: Sequence[Entry]) -> int:
        """Append entries, which are in the store already; returns the offset behind them, which is on the disk.

        Raises: `Fault("storage_full")`, after which the next append writes the journal anew; `StorageFailed`.
        """
        if self._fd < 0 or self._lines > max(2 * self._needed, STALE_LINES_MIN):
            return self.compact()  # the store has the entries already
        content = b"".join(map(encode, entries))
        try:
            _write(self._fd, content)
            os.fdatasync(self._fd)
        except OSError as error:
            self.close()
            raise _told(error) from error
        self.offset += len(content)
        self._lines += len(entries)
        return self.offset

    @property
    def lines(self) -> int:
        """Lines of the journal, stale ones included."""
        return self._lines

    @property
    def broken(self) -> bool:
        """Did the last write fail? Then the journal may say less than the store until it is written anew."""
        return self._fd < 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lines_if_current(self) -> int:
        """Return how many lines the journal has when it is what `compact` would write, else -1."""
        lines = 0
        try:
            with self._path.open("rb", buffering=_BUFFER) as file:
                for entry in self._source():
                    line = encode(entry)
                    if file.read(len(line)) != line:
                        return -1
                    lines += 1
                return -1 if file.read(1) else lines
        except OSError:
            return -1

    def _write_whole(self, path: Path) -> int:
        lines = 0
        with open(path, "wb", buffering=_BUFFER) as file:
            os.fchmod(file.fileno(), 0o600)
            for entry in self._source():
                file.write(encode(entry))
                lines += 1
            file.flush()
            os.fsync(file.fileno())
        return lines


def _write(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def _told(error: OSError) -> Fault:
    text = f"the publication journal can't be written: {error.strerror}"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return Fault("storage_full", text) if full else StorageFailed(text)
