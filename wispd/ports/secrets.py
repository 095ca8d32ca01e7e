"""Secrets, as the rooms see them: who seals and opens, and where sealed ones are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from wispd.model.secret import SealedSecret


class Opener(Protocol):
    """Opens sealed secrets. Raises: `Fault("unavailable")` naming the secret, never its value."""

    def open(self, secret: SealedSecret) -> bytes:
        """Return the value. Tens of microseconds."""

    def load(self) -> None:
        """Read the key file again: the master key may have been changed."""

    def knows(self, key_id: str) -> bool:
        """Is the master key of this id in memory?"""


class Sealer(Opener, Protocol):
    """Seals as well, and changes the master key."""

    def seal(self, secret: SealedSecret, value: bytes) -> SealedSecret:
        """Return `secret` with the value sealed under a new key of its own. Makes the first master key."""

    def rewrap(self, secret: SealedSecret) -> SealedSecret:
        """Return it under the current master key; the value is not touched. The same when it is already."""

    def begin_rotation(self) -> str:
        """Make another master key the current one, durably; the former stay for opening. Returns its id."""

    def forget(self, needed: frozenset[str]) -> int:
        """Drop every master key but the current one and those that are needed; return how many."""


class SecretStore(Protocol):
    """Sealed secrets in the control plane's store. Changes as in `Catalogue`."""

    def find(self, namespace: str, name: str) -> SealedSecret | None: ...

    def page(self, namespace: str, *, after: str, limit: int) -> list[SealedSecret]:
        """Return secrets in the order of their names, those behind `after`."""

    def all(self) -> Iterator[SealedSecret]: ...

    def put(self, secret: SealedSecret) -> None:
        """Store it, in the place of the one with its name."""

    def delete(self, namespace: str, name: str) -> bool:
        """Delete it; False when there is none."""

    def users(self, namespace: str, name: str) -> list[str]:
        """Return the functions whose live version asks for it. O(functions of the namespace)."""

    def key_ids(self) -> frozenset[str]:
        """Return the master keys that the stored secrets need."""
