"""What a backup asks of the stores, and of the keeper of the master key."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from wispd.model.backup import Snapshot, WrappedKeys


class Snapshots(Protocol):
    """Copies of the stores, each as it was at one moment."""

    def control(self, target: Path) -> Snapshot:
        """Copy the control plane's store, without tokens. Raises: `Fault` `storage_full`, `unavailable`."""

    def records(self, target: Path) -> bool:
        """Copy the records; False when there are none."""


class KeyWrapper(Protocol):
    """Seals the master key for a backup."""

    def wrapped(self, passphrase: str) -> WrappedKeys | None:
        """Return the key file's content, sealed with a passphrase; None when there is none. Takes 0.1 s."""
