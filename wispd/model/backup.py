"""What a backup holds, and what it says about itself."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

MANIFEST_NAME: Final = "manifest.json"  # the last file of a backup
CONTROL_NAME: Final = "control.db"
RECORDS_NAME: Final = "records/records.db"
SETTINGS_NAME: Final = "wisp-node.toml"
MANIFEST_BYTES_MAX: Final = 512 * 1024 * 1024


class Item(Struct, frozen=True, array_like=True):
    """A file of a backup."""

    path: str
    size: int
    sha256: str
    executable: bool = False


class WrappedKeys(Struct, frozen=True, kw_only=True):
    """The master key file, sealed with a passphrase (scrypt, AES-256-GCM)."""

    salt: bytes
    sealed: bytes


class Manifest(Struct, frozen=True, kw_only=True):
    """All that a restore checks. `changed_us` is the last change that is in the backup."""

    format: int
    wisp: str
    node_id: str
    taken_us: int
    changed_us: int
    records: bool
    functions: int
    secret_keys: list[str]  # ids of the master keys that the secrets inside need
    keys: WrappedKeys | None = None
    items: list[Item]


class Snapshot(Struct, frozen=True, kw_only=True):
    """The stores at one moment. `trees` are (kind, digest) of all code and layers that versions name."""

    trees: list[tuple[str, str]]
    functions: int
    changed_us: int
    secret_keys: list[str]
