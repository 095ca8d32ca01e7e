"""Backups while everything goes on: snapshots of the stores, then the trees that they name, streamed as one file.

The stores are copied first and each at one moment; code and layers never change under their names, so the whole is as
consistent as the snapshot. What is temporary is emptied when control starts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from wispd.base.bundle import PIECE, BundleWriter
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.control.packaging import INCOMING
from wispd.model.backup import (
    CONTROL_NAME,
    MANIFEST_NAME,
    RECORDS_NAME,
    SETTINGS_NAME,
    Item,
    Manifest,
    Snapshot,
    WrappedKeys,
)
from wispd.ports.backup import KeyWrapper, Snapshots

FREE_MARGIN_BYTES: Final = 64 * 1024 * 1024  # that a snapshot must leave on the disk
_EXECUTABLE: Final = 0o111


class About(Struct, frozen=True, kw_only=True):
    """What a backup says of the node it is from."""

    data_dir: Path
    node_id: str
    wisp: str


class Backups:
    """Makes backups of this node, one at a time."""

    def __init__(self, about: About, snapshots: Snapshots, keys: KeyWrapper, clock: Clock) -> None:
        self._about = about
        self._snapshots = snapshots
        self._keys = keys
        self._clock = clock
        self._running: Backup | None = None

    def begin(self, *, records: bool, passphrase: str = "") -> Backup:
        """Take the snapshot; the caller streams it and closes it. Blocks: it belongs into a thread.

        `passphrase`: the master key goes along, sealed with it. Raises: `Fault` `conflict` (one is under way),
        `invalid_argument`, `storage_full`, `unavailable`.
        """
        if self._running is not None and not self._running.closed:
            raise Fault("conflict", "a backup is under way; wait for it")
        keys = self._keys.wrapped(passphrase) if passphrase else None
        self._check_space(records)
        folder = Path(tempfile.mkdtemp(prefix="backup-", dir=self._about.data_dir / INCOMING))
        try:
            taken_us = self._clock.unix_ns() // 1000
            snapshot = self._snapshots.control(folder / "control.db")
            with_records = records and self._snapshots.records(folder / "records.db")
            self._running = Backup(
                self._about, folder, snapshot=snapshot, records=with_records, taken_us=taken_us, keys=keys
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return self._running

    def _check_space(self, records: bool) -> None:
        names = [CONTROL_NAME, *([RECORDS_NAME] if records else [])]
        sizes = [path.stat().st_size for name in names if (path := self._about.data_dir / name).is_file()]
        status = os.statvfs(self._about.data_dir)
        free, need = status.f_bavail * status.f_frsize, sum(sizes) + FREE_MARGIN_BYTES
        if free < need:
            text = f"a backup needs {need >> 20} MB in the data directory for a while, {free >> 20} MB are free"
            raise Fault("storage_full", text)


class Backup:
    """A backup that is being streamed."""

    def __init__(
        self, about: About, folder: Path, *, snapshot: Snapshot, records: bool, taken_us: int,
        keys: WrappedKeys | None,
    ) -> None:  # fmt: skip
        self._about = about
        self._folder = folder
        self._snapshot = snapshot
        self._records = records
        self._taken_us = taken_us
        self._keys = keys
        self.closed = False

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the backup. Raises: `Fault("unavailable")` when a file is not what it must be."""
        writer = BundleWriter()
        items: list[Item] = []
        for path, source in self._files():
            item = yield from _file(writer, path, source)
            items.append(item)
        manifest = msgspec.json.encode(self._manifest(items))
        yield writer.begin(MANIFEST_NAME, len(manifest)) + writer.content(manifest) + writer.finish()
        yield writer.end()

    def close(self) -> None:
        """Delete the snapshot. Idempotent."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.closed = True

    def _files(self) -> Iterator[tuple[str, Path]]:
        yield CONTROL_NAME, self._folder / "control.db"
        if self._records:
            yield RECORDS_NAME, self._folder / "records.db"
        settings = self._about.data_dir / SETTINGS_NAME
        if settings.is_file():
            yield SETTINGS_NAME, settings
        for kind, digest in self._snapshot.trees:
            root = self._about.data_dir / kind / digest
            if not root.is_dir():
                raise Fault("unavailable", f"{kind} {digest} is not there any more; a version needs it")
            for parent, folders, names in os.walk(root):
                folders.sort()
                for name in sorted(names):
                    path = Path(parent, name)
                    yield f"{kind}/{digest}/{path.relative_to(root).as_posix()}", path

    def _manifest(self, items: list[Item]) -> Manifest:
        return Manifest(
            format=1,
            wisp=self._about.wisp,
            node_id=self._about.node_id,
            taken_us=self._taken_us,
            changed_us=self._snapshot.changed_us,
            records=self._records,
            functions=self._snapshot.functions,
            secret_keys=self._snapshot.secret_keys,
            keys=self._keys,
            items=items,
        )


def _file(writer: BundleWriter, path: str, source: Path) -> Generator[bytes, None, Item]:
    with source.open("rb") as file:
        status = os.fstat(file.fileno())
        executable = bool(status.st_mode & _EXECUTABLE)
        digest = hashlib.sha256()
        yield writer.begin(path, status.st_size, executable=executable)
        left = status.st_size
        while piece := file.read(min(PIECE, left)):
            left -= len(piece)
            digest.update(piece)
            yield writer.content(piece)
        if left:
            raise Fault("unavailable", f"{source} became shorter while it was read")
        yield writer.finish()
    return Item(path, status.st_size, digest.hexdigest(), executable)
