"""Restore a backup into a data directory that does not exist yet.

Everything is unpacked and checked beside the target, put on the disk, and appears by one rename: a restore that is
killed leaves nothing that a node would start from. What the backup says of itself is believed only after the digest
of the whole file, of each file, of each tree, and a look into the stores.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from wispd.adapters.secrets.keyfile import KeyFile
from wispd.adapters.secrets.passphrase import unwrapped
from wispd.adapters.store.snapshot import inspect_control, inspect_records
from wispd.app import identity, settings
from wispd.app.directory import FORMAT, TOKEN_PREFIX, Node, explained, holder_of
from wispd.app.keys import key_path
from wispd.base import bundle
from wispd.base.bundle import Member, refused
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.base.ids import id_source
from wispd.control.packaging import sync_path, sync_tree, tree_digest
from wispd.model.backup import (
    CONTROL_NAME,
    MANIFEST_BYTES_MAX,
    MANIFEST_NAME,
    RECORDS_NAME,
    SETTINGS_NAME,
    Item,
    Manifest,
    Snapshot,
)
from wispd.model.record import time_text

_TREE_PATH: Final = re.compile(r"(code|layers)/([0-9a-f]{64})/.+", re.ASCII | re.DOTALL)
_PLACES: Final = frozenset({CONTROL_NAME, RECORDS_NAME, SETTINGS_NAME})
Trees = dict[tuple[str, str], list[tuple[str, bool, bytes]]]


class Restored(Struct, frozen=True, kw_only=True):
    """What a restore did. `rpo_s`: age of what was restored; `rto_s`: how long it took."""

    data_dir: str
    functions: int
    files: int
    bytes: int
    records: bool
    taken: str
    last_change: str | None
    rpo_s: float
    rto_s: float
    token: str
    key_needed: list[str]
    key_file: str


def restore(file: Path, data_dir: Path, *, passphrase: str, clock: Clock) -> Restored:
    """Make `data_dir`, which must not exist or be empty, from a backup.

    Raises: `Fault` `conflict` (a node runs there, or something lies there), `invalid_argument` (damaged, changed,
    newer, or hostile; the passphrase is wrong), `storage_full`, `forbidden`.
    """
    began_ns = clock.monotonic_ns()
    _check_target(data_dir)
    with _told(data_dir), file.open("rb") as source, _aside(data_dir) as folder:
        length = bundle.check(source)
        found = list(bundle.members(source, length))
        manifest = _manifest(source, found)
        trees = _unpack(source, dict(zip(manifest.items, found[:-1], strict=True)), folder)
        snapshot = _inspect(folder, manifest, trees)
        token = _furnish(folder, clock)
        needed = _keys(folder, manifest, snapshot, passphrase=passphrase, data_dir=data_dir)
        _hand_over(folder, data_dir)
        sync_tree(folder)
        os.rename(folder, data_dir)
        sync_path(data_dir.parent)
    now_us = clock.unix_ns() // 1000
    return Restored(
        data_dir=str(data_dir),
        functions=snapshot.functions,
        files=len(manifest.items),
        bytes=sum(item.size for item in manifest.items),
        records=manifest.records,
        taken=time_text(manifest.taken_us),
        last_change=time_text(snapshot.changed_us) if snapshot.changed_us else None,
        rpo_s=round(max(0, now_us - manifest.taken_us) / 1e6, 3),
        rto_s=round((clock.monotonic_ns() - began_ns) / 1e9, 3),
        token=token,
        key_needed=needed,
        key_file=str(key_path(settings.load(str(data_dir), {}))),
    )


def _check_target(data_dir: Path) -> None:
    holder = holder_of(data_dir)
    if holder:
        raise Fault("conflict", f"a node (pid {holder}) runs on {data_dir}; stop it, and restore into another folder")
    if os.path.lexists(data_dir):
        if data_dir.is_symlink() or not data_dir.is_dir():
            raise Fault("conflict", f"{data_dir} is not a folder")
        if any(data_dir.iterdir()):
            raise Fault("conflict", f"{data_dir} is not empty; a restore goes into a new or an empty folder only")
        if data_dir.is_mount():
            raise Fault("conflict", f"{data_dir} is a mount point; restore into a folder below it")


@contextlib.contextmanager
def _aside(data_dir: Path) -> Iterator[Path]:
    """Yield a folder beside the target, locked while it is used; remove those that killed restores left."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{data_dir.name}.restoring-"
    for left in data_dir.parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = data_dir.with_name(prefix + secrets.token_hex(4))
    folder.mkdir(mode=0o700)
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _manifest(source: BinaryIO, found: list[Member]) -> Manifest:
    """Return the manifest, which must name exactly the files that are there, in their order."""
    last = found[-1] if found else None
    if last is None or last.path != MANIFEST_NAME or last.size > MANIFEST_BYTES_MAX:
        raise refused("its manifest is missing")
    source.seek(last.offset)
    try:
        manifest = msgspec.json.decode(source.read(last.size), type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refused(f"its manifest can't be read: {error}") from None
    named = [(item.path, item.size, item.executable) for item in manifest.items]
    if named != [(member.path, member.size, member.executable) for member in found[:-1]]:
        raise refused("its manifest names other files than are there")
    if len(set(manifest.items)) != len(named) or len({item.path for item in manifest.items}) != len(named):
        raise refused("it has the same file twice")
    for item in manifest.items:
        if item.path not in _PLACES and not _TREE_PATH.fullmatch(item.path):
            raise refused(f"{item.path[:80]!a} is no file of a data directory")
    return manifest


def _unpack(source: BinaryIO, files: dict[Item, Member], folder: Path) -> Trees:
    """Write all files, each checked; return what the trees have."""
    trees: Trees = {}
    for item, member in files.items():
        path = folder / item.path
        _make_folders(folder, path.parent)
        tree = _TREE_PATH.fullmatch(item.path)
        mode = 0o600 if tree is None else 0o555 if item.executable else 0o444
        digest = _copy(source, member, path, mode=mode)
        if digest.hex() != item.sha256:
            raise refused(f"{item.path[:80]!a} is not what the manifest says")
        if tree is not None:
            kind, name = tree[1], tree[2]
            inside = item.path[len(kind) + len(name) + 2 :]
            trees.setdefault((kind, name), []).append((inside, item.executable, digest))
    for (kind, name), content in trees.items():
        if tree_digest(content) != name:
            raise refused(f"{kind} {name} is not the tree of that digest")
    return trees


def _copy(source: BinaryIO, member: Member, path: Path, *, mode: int) -> bytes:
    digest = hashlib.sha256()
    source.seek(member.offset)
    left = member.size
    with open(path, "xb") as file:
        while left:
            piece = source.read(min(bundle.PIECE, left))
            if not piece:
                raise refused("it ends too early")
            left -= len(piece)
            digest.update(piece)
            file.write(piece)
        os.fchmod(file.fileno(), mode)
    return digest.digest()


def _make_folders(root: Path, folder: Path) -> None:
    missing = []
    while folder != root and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir()
        path.chmod(0o755 if len(path.relative_to(root).parts) > 1 else 0o700)


def _inspect(folder: Path, manifest: Manifest, trees: Trees) -> Snapshot:
    """Look into the stores: they must be sound, and every tree that a version names must be there."""
    if not (folder / CONTROL_NAME).is_file():
        raise refused(f"it has no {CONTROL_NAME}")
    snapshot = inspect_control(folder / CONTROL_NAME)
    missing = [name for name in snapshot.trees if name not in trees]
    if missing:
        raise refused(f"{missing[0][0]} {missing[0][1]}, which a version needs, is not in it")
    if manifest.records != (folder / RECORDS_NAME).is_file():
        raise refused("its records are missing")
    if manifest.records:
        inspect_records(folder / RECORDS_NAME)
    settings.load(str(folder), {})
    return snapshot


def _furnish(folder: Path, clock: Clock) -> str:
    """Make the node's name and its first token, which is returned. The restored node is a new node."""
    node = Node(format=FORMAT, node_id=id_source(clock)().hex(), created_us=clock.unix_ns() // 1000)
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    _write(folder / "node.json", msgspec.json.encode(node))
    _write(folder / "tokens.json", msgspec.json.encode({"digest": digest, "role": "admin"}))
    _write(folder / "cli-token", token.encode() + b"\n")
    return token


def _keys(folder: Path, manifest: Manifest, snapshot: Snapshot, *, passphrase: str, data_dir: Path) -> list[str]:
    """Take the master key out, if that is asked for; return which keys the secrets need and are still missing."""
    if not passphrase:
        return snapshot.secret_keys
    if manifest.keys is None:
        raise Fault("invalid_argument", "this backup was made without --with-key: the master key is not inside")
    keys = unwrapped(manifest.keys, passphrase)
    wanted = key_path(settings.load(str(folder), {}))
    inside = folder / wanted.relative_to(folder) if wanted.is_relative_to(folder) else None
    if inside is None:
        text = f"the setting secret_key_file says {wanted}, which is not in {data_dir}; put the key there yourself"
        raise Fault("conflict", text)
    KeyFile(inside).create(keys)
    return [name for name in snapshot.secret_keys if name not in keys.keys]


def _hand_over(folder: Path, data_dir: Path) -> None:
    """Started by root, the services run as another user: what is theirs is given to them."""
    if os.geteuid() != 0:
        return
    chosen = settings.load(str(folder), {})
    who = identity.choose(str(data_dir), uid_first=chosen.uid_first, service_uid=chosen.service_uid)
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = os.path.join(parent, name)
            if path != str(folder / "cli-token"):
                os.chown(path, who.service_uid, who.service_uid, follow_symlinks=False)
    os.chown(folder, who.service_uid, who.service_uid)


def _write(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(content)


@contextlib.contextmanager
def _told(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG) and error.filename:
            raise refused(f"two of its files want one place: {Path(str(error.filename)).name[:80]!a}") from error
        raise explained(error, data_dir) from error
