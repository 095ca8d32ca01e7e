"""A small data directory, its backup, and backups that a forger would make: whole and signed, but wrong."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from wispd.adapters.secrets.keyfile import KeyFile
from wispd.adapters.secrets.keyring import Keyring
from wispd.adapters.secrets.passphrase import KeyFileWrapper
from wispd.adapters.store.control import ControlStore
from wispd.adapters.store.records import RecordStore
from wispd.adapters.store.snapshot import StoreSnapshots
from wispd.base import bundle
from wispd.base.clock import VirtualClock
from wispd.control.backup import About, Backup, Backups
from wispd.control.packaging import INCOMING, Bounds, Packages
from wispd.model.backup import MANIFEST_NAME, Manifest
from wispd.model.function import Version
from wispd.model.published import Token
from wispd.model.secret import SealedSecret
from wispd.ports.catalogue import Wanted

TOKEN_DIGEST = hashlib.sha256(b"a token that must not be in a backup").hexdigest()
PASSPHRASE = "correct horse battery"
VALUE = b"the value of a secret"


def opened_store(folder: Path) -> ControlStore:
    return ControlStore(folder, VirtualClock(), node_id=b"n" * 16, epoch=1)


def make_node(folder: Path) -> None:
    """Fill a data directory as a node would have."""
    for name in ("records", INCOMING):
        (folder / name).mkdir(parents=True)
    packages = Packages(folder, "code", Bounds(files=100, file_bytes=1 << 20))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("main.py", "def handle(event, context):\n    return 'hello'\n")
        archive.writestr("deep/" + "er/" * 30 + "file.txt", "a long path")
    code = packages.store(content).digest
    store = opened_store(folder)
    version = Version(id="ver_1", namespace="default", function="hello", number=0, code=code, handler="main:handle")
    store.put(Wanted(version=version, fingerprint=b"f"))
    store.credentials.add(Token(digest=TOKEN_DIGEST, role="admin", id="tok_1"), created_by="test")
    secret = SealedSecret(
        namespace="default", name="A", version=1, key_id="", wrapped=b"", sealed=b"", created_us=1, updated_us=1
    )
    store.secrets.put(Keyring(KeyFile(folder / "secret.key")).seal(secret, VALUE))
    store.commit()
    store.close()
    RecordStore(folder / "records" / "records.db").close()
    (folder / "wisp-node.toml").write_text("drain_s = 7.0\n")


def backups_of(folder: Path) -> Backups:
    about = About(data_dir=folder, node_id="ab" * 16, wisp="0")
    return Backups(about, StoreSnapshots(folder), KeyFileWrapper(KeyFile(folder / "secret.key")), VirtualClock())


def backup_of(folder: Path, **given: Any) -> bytes:
    backup: Backup = backups_of(folder).begin(**({"records": True} | given))
    try:
        return b"".join(backup.pieces())
    finally:
        backup.close()


def parts_of(content: bytes) -> tuple[dict[str, tuple[bytes, bool]], Manifest]:
    """Take a backup apart."""
    file = io.BytesIO(content)
    files = {}
    for member in bundle.members(file, bundle.check(file)):
        file.seek(member.offset)
        files[member.path] = (file.read(member.size), member.executable)
    manifest = msgspec.json.decode(files.pop(MANIFEST_NAME)[0], type=Manifest)
    return files, manifest


def signed(tar: bytes) -> bytes:
    return tar + bundle.trailer(hashlib.sha256(tar).hexdigest())


def forged(
    content: bytes, *, files: dict[str, bytes] | None = None, drop: str = "", change: dict[str, Any] | None = None
) -> bytes:
    """Return a backup with other files or another manifest whose digests all agree."""
    present, manifest = parts_of(content)
    held = {path: part for path, part in present.items() if path != drop}
    held |= {path: (part, False) for path, part in (files or {}).items()}
    items = [
        (path, len(part), hashlib.sha256(part).hexdigest(), executable) for path, (part, executable) in held.items()
    ]
    document = msgspec.to_builtins(manifest) | {"items": items} | (change or {})
    writer = bundle.BundleWriter()
    out = b""
    for path, (part, executable) in [*held.items(), (MANIFEST_NAME, (msgspec.json.encode(document), False))]:
        out += writer.begin(path, len(part), executable=executable) + writer.content(part) + writer.finish()
    return out + writer.end()


def with_header(content: bytes, alter: Callable[[tarfile.TarInfo], None]) -> bytes:
    """Return a signed backup whose first header is altered."""
    header = tarfile.TarInfo.frombuf(content[: bundle.BLOCK], "utf-8", "strict")
    alter(header)
    return signed(header.tobuf(tarfile.GNU_FORMAT) + content[bundle.BLOCK : -bundle.TRAILER_BYTES])
