"""Files that arrive one after another, from a sandbox, written as a tree that can be stored.

Whoever sends them is hostile: a path is a plain relative one or the whole tree is refused, there are only regular
files, and files and bytes are counted against the bounds before anything is written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO, Final

from wispd.base.errors import Fault
from wispd.control.archive import NAME_MAX, PART_BYTES_MAX, PARTS_MAX
from wispd.control.packaging import Bounds, make_directories

PATH_SHOWN: Final = 100


class TreeWriter:
    """Writes into a folder of its own; close it. Blocks: it belongs into a thread."""

    def __init__(self, directory: Path, bounds: Bounds, *, what: str) -> None:
        self.directory = directory
        self.files: list[tuple[str, bool, bytes]] = []  # as packaging.tree_digest takes them
        self.file_bytes = 0
        self._bounds = bounds
        self._what = what
        self._seen: set[str] = set()
        self._open: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._head = ("", False)
        self._left = 0

    def begin(self, path: str, *, executable: bool, size: int) -> None:
        """Begin a file; its `size` bytes follow by `write`. Raises: `Fault("build_failed")`."""
        if self._left:
            raise self._refused(f"{self._head[0]!r} is cut off")
        self._check(path, size)
        target = self.directory / path
        try:
            make_directories(self.directory, target.parent)
            self._open = open(target, "xb")  # noqa: SIM115  (closed by _finish or close)
        except (FileExistsError, NotADirectoryError) as error:
            raise self._refused(f"{path[:PATH_SHOWN]!a} is there twice, or below a file") from error
        os.fchmod(self._open.fileno(), 0o555 if executable else 0o444)
        self._head, self._left, self._hash = (path, executable), size, hashlib.sha256()
        if not size:
            self._finish()

    def write(self, piece: bytes) -> None:
        """Write the next bytes of the file that was begun. Raises: `Fault("build_failed")`."""
        if self._open is None or len(piece) > self._left:
            raise self._refused(f"{self._head[0]!r} is longer than it said")
        self._open.write(piece)
        self._hash.update(piece)
        self._left -= len(piece)
        if not self._left:
            self._finish()

    def end(self) -> None:
        """Say that all files are there. Raises: `Fault("build_failed")`."""
        if self._left:
            raise self._refused(f"{self._head[0]!r} is cut off")

    def close(self) -> None:
        """Delete what was written and not moved elsewhere."""
        if self._open is not None:
            self._open.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _finish(self) -> None:
        assert self._open is not None
        self._open.close()
        self._open = None
        self.files.append((*self._head, self._hash.digest()))

    def _check(self, path: str, size: int) -> None:
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts) or len(path) > NAME_MAX or len(parts) > PARTS_MAX:
            raise self._refused(f"{path[:PATH_SHOWN]!a} is no plain relative path")
        if "\\" in path or any(ord(character) < 32 or ord(character) == 127 for character in path):
            raise self._refused(f"{path[:PATH_SHOWN]!a} has a backslash or a control character")
        if any(len(part.encode("utf-8", "surrogatepass")) > PART_BYTES_MAX for part in parts) or not _unicode(path):
            raise self._refused(f"{path[:PATH_SHOWN]!a} is no name a file can have here")
        if path in self._seen:
            raise self._refused(f"{path[:PATH_SHOWN]!a} is there twice")
        self._seen.add(path)
        self.file_bytes += size
        if size < 0 or self.file_bytes > self._bounds.file_bytes:
            raise self._refused(f"it is more than {self._bounds.file_bytes} bytes")
        if len(self._seen) > self._bounds.files:
            raise self._refused(f"it has more than {self._bounds.files} files")

    def _refused(self, message: str) -> Fault:
        return Fault("build_failed", f"the {self._what} that was built is refused: {message}", reason="tree")


def _unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
