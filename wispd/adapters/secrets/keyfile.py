"""The master key's file: JSON, mode 0600, replaced whole and on the disk before anything relies on it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from wispd.base.errors import Fault

FILE_NAME: Final = "secret.key"  # in the data directory, unless the setting `secret_key_file` says otherwise
_BYTES_MAX: Final = 65_536
_KEY_BYTES: Final = 32


class Keys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Master keys by id; `current` seals, the others only open."""

    format: int
    current: str
    keys: dict[str, bytes]

    def __repr__(self) -> str:
        return f"Keys({', '.join(sorted(self.keys))})"  # never a key in a traceback


class KeyFile:
    """One key file. Raises, everywhere: `Fault("unavailable")` naming the file and what is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Keys | None:
        """Return its keys; None when there is no file."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._wrong(error.strerror or str(error)) from error
        try:
            self._check_owner(os.fstat(fd))
            content = os.read(fd, _BYTES_MAX)
        finally:
            os.close(fd)
        try:
            keys = msgspec.json.decode(content, type=Keys)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._wrong("it is not a key file of Wisp") from None  # no cause: it would quote the file
        sound = all(len(key) == _KEY_BYTES for key in keys.keys.values())
        if keys.format != 1 or keys.current not in keys.keys or not sound:
            raise self._wrong("it is damaged, or of a newer version of Wisp")
        return keys

    def create(self, keys: Keys) -> None:
        """Write the first file; one that is there is never replaced."""
        with self._told():
            temporary = self._written(keys)
            try:
                os.link(temporary, self.path, follow_symlinks=False)
            finally:
                os.unlink(temporary)
            self._sync_folder()

    def replace(self, keys: Keys) -> None:
        """Put other keys in its place, whole: after a crash it holds the former ones or these."""
        with self._told():
            os.rename(self._written(keys), self.path)
            self._sync_folder()

    def _written(self, keys: Keys) -> Path:
        temporary = self.path.with_name(self.path.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(msgspec.json.encode(keys) + b"\n")
            file.flush()
            os.fsync(fd)
        return temporary

    def _sync_folder(self) -> None:
        fd = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _check_owner(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise self._wrong("it is not a file")
        if status.st_mode & 0o077:
            raise self._wrong(f"its mode is {status.st_mode & 0o777:04o}, others may read it; chmod 600 it")
        if status.st_uid != os.geteuid():
            raise self._wrong(f"it belongs to uid {status.st_uid}, the node's services run as uid {os.geteuid()}")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            text = f"the key file {self.path} can't be written: {error.strerror}"
            raise Fault("storage_full" if full else "unavailable", text) from error

    def _wrong(self, why: str) -> Fault:
        return Fault("unavailable", f"the key file {self.path} can't be used: {why}")
