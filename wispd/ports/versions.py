"""Versions and aliases of functions in the control plane's store, and what pointed where when."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from wispd.model.alias import Pointer
from wispd.model.function import Version


class Kept(Struct, frozen=True, kw_only=True):
    """A version that is kept, and who made it."""

    version: Version
    created_by: str


class Alias(Struct, frozen=True, kw_only=True):
    """An alias as it is stored. `revision` grows with every change of any alias of its function."""

    pointer: Pointer
    revision: int
    updated_us: int
    updated_by: str


class Change(Struct, frozen=True, kw_only=True):
    """One entry of a function's history. A pointer without shares: the alias was deleted."""

    revision: int
    pointer: Pointer
    why: str
    at_us: int
    changed_by: str


class Cause(Struct, frozen=True, kw_only=True):
    """Why something changes, and by whom. `revision` ≥ 0: only if that is the alias' present one."""

    why: str
    by: str = ""
    revision: int = -1


class VersionReading(Protocol):
    """Questions about one function by namespace and name. Raises: `Fault` `not_found`, `unavailable`."""

    def versions(self, namespace: str, name: str, *, before: int, limit: int) -> list[Kept]:
        """Return versions, the newest first, those below number `before`."""

    def version(self, namespace: str, name: str, *, number: int) -> Kept: ...

    def same(self, namespace: str, name: str, *, fingerprint: bytes) -> Version | None:
        """Return the version of a content; None also when there is no such function."""

    def aliases(self, namespace: str, name: str) -> list[Alias]: ...

    def history(self, namespace: str, name: str, *, before: int, limit: int) -> list[Change]:
        """Return changes, the newest first, those below revision `before`."""


class Versions(VersionReading, Protocol):
    """Changes, kept by `Catalogue.commit`. Raises: `Fault` `not_found`, `conflict`, `precondition_failed`."""

    def point(self, namespace: str, name: str, *, pointer: Pointer, cause: Cause) -> Alias:
        """Make an alias point somewhere, or divide its calls."""

    def remove_alias(self, namespace: str, name: str, *, alias: str, cause: Cause) -> None: ...

    def remove_version(self, namespace: str, name: str, *, number: int) -> None:
        """Forget a version; `conflict` while an alias points at it or a rollout runs to it."""

    def enable(self, namespace: str, name: str, *, enabled: bool, reason: str) -> None: ...
