"""What a build's sandbox gets to see: a tree of hard links, named by its content, deleted afterwards."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from wispd.base.errors import Fault
from wispd.control.packaging import Packages, full_disk_told, make_directories

FOLDER: Final = "builds"
LINKS_BYTES_MAX: Final = 1 << 30  # of all find_links together
_PIECE: Final = 1 << 20


class Input(Struct, frozen=True, kw_only=True):
    """One file of an input tree. It lies on the data directory's file system and belongs to this process."""

    path: Path
    sha256: bytes
    executable: bool = False


class Inputs:
    """Makes input trees. All methods block: they belong into a thread."""

    def __init__(self, data_dir: Path, code: Packages, *, find_uv: Callable[[], str]) -> None:
        self._folder = data_dir / FOLDER
        self._marks = self._folder / "inputs"
        self._marks.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._code = code
        self._find_uv = find_uv
        self._uv: Input | None = None

    def clear(self) -> None:
        """Delete the trees that an earlier process left."""
        for mark in self._marks.iterdir():
            self.discard(mark.name)

    def make(self, files: dict[str, Input]) -> str:
        """Make a tree of `path in it → file` and return its digest. Raises: `Fault("storage_full")`."""
        directory = self._code.temporary()
        try:
            with full_disk_told():
                for path, file in files.items():
                    make_directories(directory, (directory / path).parent)
                    os.link(file.path, directory / path)
            listed = [(path, file.executable, file.sha256) for path, file in files.items()]
            digest = self._code.keep(directory, listed, passing=True)
            (self._marks / digest).touch()
            return digest
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def discard(self, digest: str) -> None:
        """Delete a tree that was made. Idempotent."""
        self._code.discard(digest)
        (self._marks / digest).unlink(missing_ok=True)

    def uv(self) -> Input:
        """Return the installer's program. Raises: `Fault("unavailable")` when the installation has none."""
        if self._uv is None:
            try:
                self._uv = self.copied(Path(self._find_uv()), executable=True)
            except OSError as error:
                raise Fault("unavailable", f"the installer uv can't be read: {error}") from error
        return self._uv

    def copied(self, source: Path, *, executable: bool = False) -> Input:
        """Copy a file of the machine into the data directory, once for each content."""
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").digest()
        target = self._folder / f"{source.name}-{sha256.hex()[:32]}"
        if not target.exists():
            unfinished = target.with_name(target.name + ".new")
            with full_disk_told():
                shutil.copyfile(source, unfinished)
                unfinished.chmod(0o555 if executable else 0o444)
                unfinished.rename(target)
        return Input(path=target, sha256=sha256, executable=executable)

    def written(self, content: bytes) -> Input:
        """Write a file of this content."""
        sha256 = hashlib.sha256(content).digest()
        target = self._folder / sha256.hex()
        if not target.exists():
            unfinished = target.with_name(target.name + ".new")
            with full_disk_told():
                unfinished.write_bytes(content)
                unfinished.chmod(0o444)
                unfinished.rename(target)
        return Input(path=target, sha256=sha256)

    def links(self, folders: tuple[str, ...]) -> dict[str, Input]:
        """Return `links/<name>` → file of the package files in folders of the machine.

        Raises: `Fault("unavailable")` when a folder can't be read, or they are too large together.
        """
        found: dict[str, Input] = {}
        size = 0
        for folder in folders:
            try:
                for path in sorted(Path(folder.removeprefix("file://")).iterdir()):
                    if not path.name.endswith((".whl", ".tar.gz", ".zip")):
                        continue
                    size += path.stat().st_size
                    if size > LINKS_BYTES_MAX:
                        raise Fault("unavailable", f"find_links hold more than {LINKS_BYTES_MAX} bytes: {folder}")
                    found.setdefault(f"links/{path.name}", self.copied(path))
            except OSError as error:
                raise Fault("unavailable", f"find_links: {folder} can't be read: {error.strerror}") from error
        return found

    def tree(self, digest: str, prefix: str) -> dict[str, Input]:
        """Return `<prefix>/<path>` → file of a stored code tree."""
        root = self._code.path(digest)
        found = {}
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                with path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").digest()
                executable = bool(path.stat().st_mode & 0o111)
                key = f"{prefix}/{path.relative_to(root).as_posix()}"
                found[key] = Input(path=path, sha256=sha256, executable=executable)
        return found
