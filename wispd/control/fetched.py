"""Files that were fetched from an index: named by address and hash, written only after the hash was found right.

Only the platform writes here, never a build. The address is part of the name, so that nobody gets a file of a
private index by knowing its hash.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from wispd.base.errors import Fault
from wispd.control.buildinputs import Input
from wispd.control.packaging import full_disk_told
from wispd.model.build import Artifact
from wispd.ports.fetching import Fetching

FOLDER: Final = "wheels"
AT_ONCE: Final = 6
FILE_BYTES_MAX: Final = 4 << 30
Told = Callable[[int, int], None]  # bytes that are there, bytes in all


class Fetched:
    """The cache of one node."""

    def __init__(self, data_dir: Path, fetcher: Fetching, *, bytes_max: int, offline: bool) -> None:
        self._folder = data_dir / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._fetcher = fetcher
        self._bytes_max = bytes_max
        self._offline = offline
        for left in self._folder.glob("*.part"):
            left.unlink(missing_ok=True)

    async def all(self, artifacts: Sequence[Artifact], told: Told) -> dict[str, Input]:
        """Fetch what is not there yet; return file name → file.

        Raises: `Fault("build_failed")` when an address can't be reached or what it answers has another hash.
        """
        total = sum(one.size_bytes for one in artifacts)
        arrived = 0

        def count(size: int) -> None:
            nonlocal arrived
            arrived += size
            told(arrived, max(total, arrived))

        slots = asyncio.Semaphore(AT_ONCE)

        async def one(artifact: Artifact) -> Input:
            async with slots:
                return await self._one(artifact, count)

        try:
            async with asyncio.TaskGroup() as group:
                fetching = {artifact.filename: group.create_task(one(artifact)) for artifact in artifacts}
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        return {name: fetch.result() for name, fetch in fetching.items()}

    async def _one(self, artifact: Artifact, count: Callable[[int], None]) -> Input:
        path = self._path(artifact)
        if path.exists():
            with contextlib.suppress(OSError):
                os.utime(path)  # used now: evicted last
            count(artifact.size_bytes)
        else:
            await self._fetch(artifact, path, count)
        return Input(path=path, sha256=bytes.fromhex(artifact.sha256))

    async def _fetch(self, artifact: Artifact, path: Path, count: Callable[[int], None]) -> None:
        if self._offline:
            text = f"{artifact.filename} was never fetched, and this node is offline ([build] offline)"
            raise Fault("build_failed", text, reason="offline")
        with full_disk_told(), tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part") as file:
            writer = _Hashing(file, count)
            await self._fetcher.fetch(artifact.url, writer.write, limit_bytes=FILE_BYTES_MAX)
            found = writer.total.hexdigest()
            if found != artifact.sha256:
                raise Fault(
                    "build_failed",
                    f"{artifact.filename} has the SHA-256 {found}, its index says {artifact.sha256}",
                    reason="hash",
                )
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o444)
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)

    def evict(self) -> None:
        """Delete what was unused longest until the cache is within its bound. Blocks."""
        found = []
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        size = sum(entry[1] for entry in found)
        for _, freed, path in sorted(found):
            if size <= self._bytes_max:
                return
            path.unlink(missing_ok=True)
            size -= freed

    def _path(self, artifact: Artifact) -> Path:
        return self._folder / hashlib.sha256(f"{artifact.url}\0{artifact.sha256}".encode()).hexdigest()


class _Hashing:
    """Writes and hashes what arrives."""

    def __init__(self, file: BinaryIO | tempfile._TemporaryFileWrapper[bytes], count: Callable[[int], None]) -> None:
        self._file = file
        self._count = count
        self.total = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self.total.update(piece)
        self._file.write(piece)
        self._count(len(piece))


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first fault of a group, else the first error."""
    faults = errors.subgroup(Fault)
    found: BaseException = (faults or errors).exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
