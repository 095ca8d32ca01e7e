"""From an uploaded zip to an immutable tree named by its content: ``<data>/code/<sha256>/``.

The digest covers the sorted (path, executable bit, SHA-256 of the content), so the same files are the same tree
however they were zipped. A tree appears whole, by rename, after it is on the disk; its files are read-only and
readable by every uid, because instances run under uids of their own (the data directory itself is 0700).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from wispd.base.errors import Fault
from wispd.control import archive

INCOMING: Final = "incoming"  # uploads and trees that are not whole; emptied when control starts
DAMAGED: Final = ".damaged"  # appended to the name of a tree whose content has changed; the launcher knows it too
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_IGNORED: Final = frozenset({".git", "__pycache__", ".venv"})
_SYNCED_ONE_BY_ONE: Final = 64  # files; above it one syncfs costs less than an fsync each


class Bounds(Struct, frozen=True, kw_only=True):
    """How large a tree may be. `caches` keeps compiled files: layers bring theirs, code is read as source."""

    files: int
    file_bytes: int
    caches: bool = False


class Tree(Struct, frozen=True, kw_only=True):
    """A stored tree."""

    digest: str
    files: int
    file_bytes: int


class Packages:
    """The stored trees of one kind: code or layers."""

    def __init__(self, data_dir: Path, kind: str, bounds: Bounds) -> None:
        self._home = data_dir / kind
        self._incoming = data_dir / INCOMING
        self._bounds = bounds
        self._sound: set[str] = set()
        for directory in (self._home, self._incoming):
            directory.mkdir(mode=0o700, exist_ok=True)

    def has(self, digest: str) -> bool:
        """Is this tree here?"""
        return (self._home / digest).is_dir()

    def all(self) -> list[str]:
        """Return the digests of all trees, those that were stored last first. Blocks."""
        found = [entry for entry in os.scandir(self._home) if entry.is_dir(follow_symlinks=False)]
        whole = [entry for entry in found if _DIGEST.fullmatch(entry.name)]
        return [entry.name for entry in sorted(whole, key=lambda entry: -entry.stat().st_mtime)]

    def sound(self, digest: str) -> bool:
        """Is this tree here, and was its content what its digest says when this process first asked? Blocks."""
        if digest not in self._sound:
            if not self.has(digest) or not self.verify(digest):
                return False
            self._sound.add(digest)
        return self.has(digest)

    def verify(self, digest: str) -> bool:
        """Compare a tree with its digest; False: it is damaged, and was put aside. Blocks: it reads all of it."""
        root = self._home / digest
        try:
            found = tree_digest(_read_tree(root))
        except OSError:
            found = ""
        if found == digest or not root.is_dir():  # the second: it was deleted meanwhile
            return True
        self._sound.discard(digest)
        aside = self._home / f"{digest}{DAMAGED}"
        shutil.rmtree(aside, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rename(root, aside)
        return False

    def upload(self) -> BinaryIO:
        """Return an empty unnamed file for an upload, in the data directory."""
        return tempfile.TemporaryFile(dir=self._incoming)

    def store(self, upload: BinaryIO) -> Tree:
        """Unpack a zip; idempotent: the same content is stored once.

        Raises: `Fault` `invalid_argument` (what is wrong with it), `payload_too_large`, `storage_full`; nothing is
        left of it then. Blocks: it belongs into a thread.
        """
        found = archive.entries(upload, files_max=self._bounds.files)
        wanted = [entry for entry in found if not entry.directory and not self._ignored(entry.path)]
        if not wanted:
            raise archive.bad("there is no file in it")
        declared = sum(entry.file_bytes for entry in wanted)
        if declared > self._bounds.file_bytes:
            raise self._too_large(declared)
        with full_disk_told(), self._temporary() as directory:
            contents = self._unpack(upload, wanted, directory)
            digest = tree_digest([(entry.path, entry.executable, contents[entry.path]) for entry in wanted])
            if not self.sound(digest):
                sync_tree(directory)
                self._move(directory, digest)
        return Tree(digest=digest, files=len(wanted), file_bytes=declared)

    def temporary(self) -> Path:
        """Make an empty folder for a tree that is to be stored by `keep`; deleting it is the caller's."""
        directory = Path(tempfile.mkdtemp(dir=self._incoming))
        directory.chmod(0o755)
        return directory

    def keep(self, directory: Path, files: list[tuple[str, bool, bytes]], *, passing: bool = False) -> str:
        """Store a folder of just these files, as `tree_digest` takes them; return its digest.

        They are never written again. `passing`: it is gone with this process, so it need not reach the disk.
        Raises: `Fault("storage_full")`. Blocks.
        """
        digest = tree_digest(files)
        with full_disk_told():
            if not (self.has(digest) if passing else self.sound(digest)):
                if not passing:
                    sync_tree(directory)
                self._move(directory, digest)
        return digest

    def discard(self, digest: str) -> None:
        """Delete a tree that nothing refers to. Idempotent. Blocks."""
        gone = self.temporary()
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._home / digest, gone / digest)
        shutil.rmtree(gone, ignore_errors=True)

    def path(self, digest: str) -> Path:
        """Return where a stored tree is."""
        return self._home / digest

    @property
    def bounds(self) -> Bounds:
        return self._bounds

    def _unpack(self, upload: BinaryIO, wanted: list[archive.Entry], directory: Path) -> dict[str, bytes]:
        """Write all files; return their hashes."""
        hashes: dict[str, bytes] = {}
        total = 0
        for entry in wanted:
            path = directory / entry.path
            make_directories(directory, path.parent)
            content_hash = hashlib.sha256()
            with open(path, "xb") as file:
                for piece in archive.inflate(upload, entry):
                    total += len(piece)
                    if total > self._bounds.file_bytes:
                        raise self._too_large(total)
                    content_hash.update(piece)
                    file.write(piece)
                os.fchmod(file.fileno(), 0o555 if entry.executable else 0o444)
            hashes[entry.path] = content_hash.digest()
        return hashes

    def _move(self, directory: Path, digest: str) -> None:
        try:
            os.rename(directory, self._home / digest)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # somebody stored the same content meanwhile
                raise
        sync_path(self._home)
        self._sound.add(digest)
        shutil.rmtree(self._home / f"{digest}{DAMAGED}", ignore_errors=True)

    def _ignored(self, path: str) -> bool:
        parts = set(path.split("/"))
        if self._bounds.caches:
            return bool(parts & {".git"})
        return bool(parts & _IGNORED) or path.endswith(".pyc")

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        directory = self.temporary()
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _too_large(self, size: int) -> Fault:
        limit = self._bounds.file_bytes
        return Fault("payload_too_large", f"unpacked it is {size} bytes, limit {limit}", bytes=size, limit=limit)


def clear_incoming(data_dir: Path) -> None:
    """Delete what earlier processes left unfinished; called once, before anything is uploaded."""
    shutil.rmtree(data_dir / INCOMING, ignore_errors=True)


def tree_digest(files: list[tuple[str, bool, bytes]]) -> str:
    """Return the name of a tree of (path, executable, SHA-256 of the content)."""
    total = hashlib.sha256()
    for path, executable, content in sorted(files, key=lambda file: file[0].encode()):
        total.update(path.encode() + (b"\0x" if executable else b"\0-") + content)
    return total.hexdigest()


def _read_tree(root: Path) -> list[tuple[str, bool, bytes]]:
    """Return what `tree_digest` takes, of a tree on the disk. Raises `OSError`."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            found.append((path.relative_to(root).as_posix(), bool(path.stat().st_mode & 0o111), content))
    return found


def sync_path(path: Path) -> None:
    """Put a file, or a directory's names, on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directories(root: Path, directory: Path) -> None:
    """Make missing directories, readable by all whatever the umask is."""
    missing = []
    while directory != root and not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for path in reversed(missing):
        path.mkdir()
        path.chmod(0o755)


def sync_tree(root: Path) -> None:
    """Put a whole tree on the disk."""
    paths = [path for path in root.rglob("*") if not path.is_symlink()]
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if len(paths) > _SYNCED_ONE_BY_ONE and syncfs is not None:
        fd = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if syncfs(fd) == 0:
                return
            if ctypes.get_errno() != errno.ENOSYS:  # what it could not write, an fsync may not tell of again
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(fd)
    for path in [*paths, root]:
        sync_path(path)


@contextlib.contextmanager
def full_disk_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Fault("storage_full", f"the package can't be stored: {error.strerror}") from error
        if error.errno == errno.EIO:
            raise Fault("unavailable", f"the package can't be stored, the disk failed: {error.strerror}") from error
        raise
