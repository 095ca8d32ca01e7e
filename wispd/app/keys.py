"""The master key of a node: where its file is, and what control checks before it serves."""

from __future__ import annotations

from pathlib import Path

from wispd.adapters.secrets.keyfile import FILE_NAME, KeyFile
from wispd.adapters.secrets.keyring import Keyring
from wispd.app.settings import Settings
from wispd.ports.catalogue import Catalogue


def keyring(settings: Settings) -> Keyring:
    """Return the node's keyring; nothing is read or made yet."""
    return Keyring(KeyFile(key_path(settings)))


def key_path(settings: Settings) -> Path:
    """Return where the master key's file is."""
    return Path(settings.secret_key_file or Path(settings.data_dir) / FILE_NAME)


def opened_keyring(settings: Settings, store: Catalogue) -> Keyring:
    """Return the keyring with every key that the store needs, and finish a change of the key that was interrupted.

    Raises: `Fault("unavailable")` when the key file is missing, wrong or readable by others.
    """
    ring = keyring(settings)
    ring.require(store.secrets.key_ids())
    if len(ring.key_ids) > 1:
        for secret in list(store.secrets.all()):
            again = ring.rewrap(secret)
            if again is not secret:
                store.secrets.put(again)
        store.commit()
    return ring
