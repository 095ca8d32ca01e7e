"""What a build made, as records: regular files and nothing else. Links inside become what they point to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final

from wisp.runtime.building import records

_PIECE: Final = 1 << 17
_SKIPPED: Final = frozenset({".git", ".lock"})
NAMES_SHOWN: Final = 200


class TreeRefused(Exception):
    """The tree holds what no package may hold; the text names it."""


def send(root: str, name: str, *, only: list[str] | None = None) -> Iterator[bytes]:
    """Yield the records of all files below `root`, or only of some. Raises: `TreeRefused`."""
    waiting = bytearray()
    for path in files_of(root) if only is None else only:
        for piece in _file(root, path, name):
            waiting += piece
            if len(waiting) >= _PIECE:
                yield bytes(waiting)
                waiting.clear()
    if waiting:
        yield bytes(waiting)


def files_of(root: str) -> list[str]:
    """Return the paths of all files below `root`, sorted. Raises: `TreeRefused`."""
    found: list[str] = []
    real = os.path.realpath(root)
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name in _SKIPPED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                else:
                    _check(real, entry, path)
                    found.append(path)
    return sorted(found)


def _check(real: str, entry: os.DirEntry[str], path: str) -> None:
    shown = ascii(path[:NAMES_SHOWN])
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if not target.startswith(real + "/"):
            raise TreeRefused(f"{shown} is a link that leads out of the tree, to {os.readlink(entry.path)!a}")
        if not os.path.isfile(target):
            raise TreeRefused(f"{shown} is a link to something that is no file")
    elif not entry.is_file(follow_symlinks=False):
        raise TreeRefused(f"{shown} is a device, a socket or a pipe; only files and folders are taken")


def _file(root: str, path: str, name: str) -> Iterator[bytes]:
    opened = os.open(os.path.realpath(os.path.join(root, path)), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise TreeRefused(f"{path[:NAMES_SHOWN]!a} changed while it was read")
        size = status.st_size
        executable = bool(status.st_mode & 0o111)
        yield records.pack_json(records.FILE, {"tree": name, "path": path, "executable": executable, "size": size})
        while size and (piece := os.read(opened, min(size, _PIECE))):
            size -= len(piece)
            yield records.pack(records.BYTES, piece)
        if size:
            raise TreeRefused(f"{path[:NAMES_SHOWN]!a} became shorter while it was read")
    finally:
        os.close(opened)
