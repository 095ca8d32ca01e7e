"""The control plane's store: functions, their versions, and tokens. Only the control process writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from wispd.base.errors import Fault
from wispd.model.alias import LIVE
from wispd.model.function import Published, Version
from wispd.model.published import Entry
from wispd.ports.access import Credentials, Namespaces, Uploads
from wispd.ports.audit import Audit
from wispd.ports.limits import Limits
from wispd.ports.rollouts import RolloutReading, Rollouts
from wispd.ports.secrets import SecretStore
from wispd.ports.versions import VersionReading, Versions


class StorageFailed(Fault):
    """The disk failed, or the file is damaged: what was written is on the disk, or half of it, or nothing."""

    def __init__(self, message: str) -> None:
        super().__init__("unavailable", message)


class Registered(Struct, frozen=True, kw_only=True):
    """A function as it is stored. `fingerprint` is that of its live version's declaration.

    `versions_kept` is how many versions it keeps besides those in use; 0: what the node says.
    """

    published: Published
    fingerprint: bytes
    created_us: int
    updated_us: int
    versions_kept: int = 0


class Wanted(Struct, frozen=True, kw_only=True):
    """What a deployment asks for: `version.number` is set by the store.

    `alias` is pointed at the version, and `live` too where the function is new; "": none is moved. `enabled` None:
    as it is.
    """

    version: Version
    fingerprint: bytes
    alias: str = LIVE
    by: str = ""
    enabled: bool | None = None
    concurrency_reserved: int = -1
    versions_kept: int = 0


class Reading(Protocol):
    """Questions; each is one short read. Raises: `Fault("unavailable")`."""

    @property
    def credentials(self) -> Credentials: ...

    @property
    def namespaces(self) -> Namespaces: ...

    @property
    def uploads(self) -> Uploads: ...

    @property
    def audit(self) -> Audit: ...

    @property
    def limits(self) -> Limits:
        """Budgets and quotas."""

    @property
    def versions(self) -> VersionReading: ...

    @property
    def rollouts(self) -> RolloutReading: ...

    @property
    def secrets(self) -> SecretStore: ...

    def find(self, namespace: str, name: str) -> Registered | None: ...

    def page(self, namespace: str, *, after: str, limit: int) -> list[Registered]:
        """Return functions in the order of their names, those behind `after`."""

    def count(self) -> int:
        """Return how many functions there are."""

    def entries(self) -> Iterator[Entry]:
        """Yield all that is in force, streamed: tokens, secrets, then functions."""


class Catalogue(Reading, Protocol):
    """Changes. They are kept by `commit`; a change that raises leaves nothing. One thread at a time.

    Raises: `Fault` `conflict`, `storage_full`, `unavailable`.
    """

    @property
    def versions(self) -> Versions: ...

    @property
    def rollouts(self) -> Rollouts: ...

    def put(self, wanted: Wanted) -> tuple[Registered, bool]:
        """Store a version and point an alias at it; True when it is new. Equal content is the version it was.

        Raises: `Fault("conflict")` for a name that differs in case only, and for a route that another function has.
        """

    def delete(self, namespace: str, name: str) -> bool:
        """Delete a function with its versions and routes; False when there is none."""

    def together(self) -> AbstractContextManager[None]:
        """Make the changes within it one: all of them, or none."""

    def commit(self) -> None:
        """Put all changes since the last commit on the disk, or none."""

    def rollback(self) -> None: ...
