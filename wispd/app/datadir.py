"""The data directory: made, owned, locked, and marked as one node's."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from wispd.base.clock import Clock
from wispd.base.errors import Fault

FORMAT: Final = 1
FREE_MIN_BYTES: Final = 64 * 1024 * 1024
TOKEN_PREFIX: Final = "wisp_"  # noqa: S105 - so that a leaked token is recognised as one
FOLDERS: Final = ("code", "layers", "published", "records", "run", "logs")


class DataDirectory:
    """One node's folder, locked for as long as this object's process lives."""

    def __init__(self, path: str, owner_uid: int) -> None:
        """Make and lock it. `owner_uid` -1: whoever runs this.

        Raises: `Fault` naming the path when it can't be made, written or locked.
        """
        self.path = Path(path)
        self.owner_uid = owner_uid
        try:
            self._make()
        except OSError as error:
            raise _no_directory(self.path, error) from error
        self._lock = self._take_lock()

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(self.path, 0o700)
        self._own(self.path)
        for name in FOLDERS:
            folder = self.path / name
            folder.mkdir(mode=0o700, exist_ok=True)
            self._own(folder)
        probe = self.path / "run" / ".probe"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
        free = shutil.disk_usage(self.path).free
        if free < FREE_MIN_BYTES:
            raise OSError(errno.ENOSPC, f"{free >> 20} MB are free, at least {FREE_MIN_BYTES >> 20} MB are needed")

    def _own(self, path: Path) -> None:
        if self.owner_uid >= 0 and os.geteuid() == 0 and path.stat().st_uid != self.owner_uid:
            os.chown(path, self.owner_uid, self.owner_uid, follow_symlinks=False)

    def _take_lock(self) -> int:
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            message = f"a node already runs on {self.path} (process {holder}); stop it with `wisp down`"
            raise Fault("conflict", message, pid=holder) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def node_id(self, clock: Clock) -> str:
        """Return the node's id, made at the first start.

        Raises: `Fault("conflict")` for a directory of a newer format.
        """
        place = self.path / "node.json"
        if place.exists():
            known = json.loads(place.read_text())
            if known["format"] > FORMAT:
                message = f"{self.path} has format {known['format']}, this Wisp knows {FORMAT}: use the newer Wisp"
                raise Fault("conflict", message)
            return str(known["node_id"])
        node_id = secrets.token_hex(16)
        created = clock.unix_ns() // 1_000_000_000
        self.write("node.json", json.dumps({"node_id": node_id, "format": FORMAT, "created": created}))
        return node_id

    def first_token(self) -> str | None:
        """Make the admin token at the first start and return it, this once; later None.

        The command line's copy is `cli-token` (0600); everything else keeps only its SHA-256.
        """
        if (self.path / "cli-token").exists():
            return None
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).hexdigest()
        self.write("tokens.json", json.dumps({"digest": digest, "role": "admin"}))
        self.write("cli-token", token + "\n", private=True)
        return token

    def write(self, name: str, text: str, *, private: bool = False) -> None:
        """Replace a small file atomically and durably. `private`: it stays with whoever runs this."""
        temporary = self.path / f".{name.replace('/', '-')}.new"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, text.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        if not private:
            self._own(temporary)
        os.replace(temporary, self.path / name)
        folder = os.open((self.path / name).parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / name).unlink()


def _no_directory(path: Path, error: OSError) -> Fault:
    if error.errno == errno.ENOSPC:
        return Fault(
            "storage_full", f"the disk of {path} is full: {error.strerror}; free some space or use --data DIR"
        )
    why = error.strerror or str(error)
    return Fault("invalid_argument", f"data directory {path} can't be used: {why}; choose another with --data DIR")
