"""Fetch a backup into a file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from wispd.base.bundle import StreamCheck
from wispd.base.errors import Fault
from wispd.client.node import NodeClient


class Saved(Struct, frozen=True, kw_only=True):
    """A backup that is on the disk."""

    path: str
    bytes: int
    sha256: str


def save(client: NodeClient, path: Path, wanted: dict[str, Any], *, progress: Callable[[int], None]) -> Saved:
    """Write a backup of the node to `path`, which must not exist.

    It is checked while it arrives, put on the disk, and only then given its name. Raises: `Fault` `conflict`,
    `invalid_argument` (it arrived incomplete), `storage_full`.
    """
    if os.path.lexists(path):
        raise Fault("conflict", f"{path} exists already; a backup never replaces a file")
    with _told(path), _temporary(path) as (temporary, fd):
        check = StreamCheck()
        with client.stream("POST", "/v1/backup", json=wanted) as answer:
            for piece in answer.iter_raw():
                check.feed(piece)
                _write(fd, piece)
                progress(check.size)
        digest = check.finish()
        os.fsync(fd)
        os.rename(temporary, path)
        _sync_folder(path)
    return Saved(path=str(path), bytes=check.size, sha256=digest)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, int]]:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield temporary, fd
    finally:
        os.close(fd)
        temporary.unlink(missing_ok=True)


def _write(fd: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(path: Path) -> None:
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        code = "storage_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "invalid_argument"
        raise Fault(code, f"{path} can't be written: {error.strerror}") from error
