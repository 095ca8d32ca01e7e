"""``control.db``: the control plane's store in SQLite. One writer; readers open connections of their own (WAL)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from wispd.adapters.store.control_access import CredentialStore, NamespaceStore, UploadStore
from wispd.adapters.store.control_audit import AuditStore
from wispd.adapters.store.control_builds import BuildStore
from wispd.adapters.store.control_first import WHY, add_first
from wispd.adapters.store.control_limits import LimitStore
from wispd.adapters.store.control_rollouts import RolloutStore
from wispd.adapters.store.control_secrets import ControlSecrets
from wispd.adapters.store.control_session import Session, told
from wispd.adapters.store.control_versions import VersionStore
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.model.alias import LIVE, whole
from wispd.model.function import Published, Version
from wispd.model.published import Entry
from wispd.ports.catalogue import Registered, Wanted
from wispd.ports.versions import Cause

VERSIONS_KEPT: Final = 100  # of one function, besides those that are in use
_SELECT: Final = """
SELECT f.namespace, f.name, f.enabled, f.concurrency_reserved, f.created_us, f.updated_us, v.fingerprint, v.content,
    f.disabled_reason, f.versions_kept, f.id, f.divided
FROM functions f JOIN versions v ON v.id = f.live
"""
_decoder = msgspec.json.Decoder(Version)


class ControlStore:
    """Implements `wispd.ports.catalogue.Catalogue`. One thread at a time."""

    def __init__(
        self, data_dir: Path, clock: Clock, *, node_id: bytes, epoch: int, versions_kept: int = VERSIONS_KEPT
    ) -> None:
        self._session = Session(data_dir, clock, source=(node_id, epoch))
        self._connection = self._session.connection
        self.credentials = CredentialStore(self._session)
        self.namespaces = NamespaceStore(self._session)
        self.uploads = UploadStore(self._session)
        self.audit = AuditStore(self._session)
        self.together = self._session.change  # several changes: all of them, or none
        self.builds = BuildStore(self._session)
        self.limits = LimitStore(self._session)
        self._versions_kept = versions_kept
        self.versions = VersionStore(self._session)
        self.rollouts = RolloutStore(self._session)
        self.secrets = ControlSecrets(self._session)

    def find(self, namespace: str, name: str) -> Registered | None:
        rows = self._session.rows(
            _SELECT + "WHERE f.namespace = ? AND f.key = ? AND f.name = ?", namespace, name.lower(), name
        )
        return self._registered(rows[0]) if rows else None

    def page(self, namespace: str, *, after: str, limit: int) -> list[Registered]:
        where = "WHERE f.namespace = ? AND f.key > ? ORDER BY f.key LIMIT ?"
        return [self._registered(row) for row in self._session.rows(_SELECT + where, namespace, after.lower(), limit)]

    def count(self) -> int:
        return int(self._session.rows("SELECT count(*) FROM functions WHERE live IS NOT NULL")[0][0])

    def entries(self) -> Iterator[Entry]:
        yield from self.credentials.all()
        yield from self.limits.budgets()
        yield from self.limits.quotas()
        yield from self.secrets.all()
        with told():
            for row in self._connection.execute(_SELECT + "ORDER BY f.id"):
                yield self._registered(row).published

    def put(self, wanted: Wanted) -> tuple[Registered, bool]:
        with self._session.change():
            row = self._row(wanted)
            if row is None and wanted.alias in ("", LIVE):  # most functions of a large batch
                added, registered = add_first(self._session, wanted)
                self.versions.claim(added, wanted.version.routes)
                return registered, True
            function, last, present = row or self._added(wanted)
            version, fresh = self._version(function, last, wanted)
            cause = Cause(why=WHY, by=wanted.by)
            aliases = ({wanted.alias} if present else {wanted.alias, LIVE}) - {""}
            if aliases:
                self._settings(function, wanted)
            for alias in sorted(aliases):
                self.versions.shift(function, whole(alias, version.number), cause)
            if fresh:
                self.versions.forget(function, kept=wanted.versions_kept or self._versions_kept)
        found = self.find(version.namespace, version.function)
        assert found is not None, "what was just put is there"
        return found, fresh

    def delete(self, namespace: str, name: str) -> bool:
        rows = self._session.rows(
            "SELECT id FROM functions WHERE namespace = ? AND name = ? AND live IS NOT NULL", namespace, name
        )
        if not rows:
            return False
        with self._session.change():
            self.versions.drop(rows[0][0])
            self._session.execute(
                "UPDATE functions SET live = NULL, updated_us = ? WHERE id = ?", self._session.now_us(), rows[0][0]
            )
        return True

    def commit(self) -> None:
        self._session.commit()

    def rollback(self) -> None:
        self._session.rollback()

    def close(self) -> None:
        self._session.close()

    def _row(self, wanted: Wanted) -> tuple[int, int, bool] | None:
        """Return the function's row, its last version number, and whether it is deployed."""
        namespace, name = wanted.version.namespace, wanted.version.function
        rows = self._session.rows(
            "SELECT id, last_number, name, live FROM functions WHERE namespace = ? AND key = ?",
            namespace,
            name.lower(),
        )
        if not rows:
            return None
        number, last, present, live = rows[0]
        if present != name and live is not None:
            raise Fault("conflict", f"{name!r} and {present!r} differ in case only; names are unique ignoring case")
        if present != name:
            self._connection.execute("UPDATE functions SET name = ? WHERE id = ?", (name, number))
        return number, last, live is not None

    def _added(self, wanted: Wanted) -> tuple[int, int, bool]:
        """Make a function's row."""
        namespace, name = wanted.version.namespace, wanted.version.function
        self._connection.execute(
            "INSERT INTO functions (namespace, name, key, enabled, concurrency_reserved, last_number, created_us, "
            "updated_us, node_id, epoch) VALUES (?, ?, ?, 1, -1, 0, ?, ?, ?, ?)",
            (namespace, name, name.lower(), self._session.now_us(), self._session.now_us(), *self._session.source),
        )
        return self._connection.last_insert_rowid(), 0, False

    def _version(self, function: int, last: int, wanted: Wanted) -> tuple[Version, bool]:
        same = self._session.rows(
            "SELECT content FROM versions WHERE function = ? AND fingerprint = ?", function, wanted.fingerprint
        )
        if same:
            return _decoder.decode(same[0][0]), False
        version = msgspec.structs.replace(wanted.version, number=last + 1, created_us=self._session.now_us())
        content = msgspec.json.encode(version)
        row = (version.id, function, last + 1, wanted.fingerprint, content, version.created_us, *self._session.source)
        self._connection.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, wanted.by))
        self._connection.execute("UPDATE functions SET last_number = ? WHERE id = ?", (last + 1, function))
        return version, True

    def _settings(self, function: int, wanted: Wanted) -> None:
        """Keep what belongs to the function and not to the version. `enabled` None: as it is."""
        self._session.execute(
            "UPDATE functions SET concurrency_reserved = ?, versions_kept = ?, updated_us = ?, "
            "enabled = coalesce(?, enabled), disabled_reason = iif(?, '', disabled_reason) WHERE id = ?",
            *(wanted.concurrency_reserved, wanted.versions_kept, self._session.now_us()),
            *(wanted.enabled, wanted.enabled, function),
        )

    def _registered(self, row: tuple[Any, ...]) -> Registered:
        namespace, name, enabled, reserved, created_us, updated_us, fingerprint, content, *more = row
        reason, kept, function, divided = more
        live = _decoder.decode(content)
        pointers, others = self.versions.published(function, live.number) if divided else ((), ())
        published = Published(
            namespace=namespace,
            name=name,
            live=live,
            enabled=bool(enabled),
            disabled_reason=reason,
            concurrency_reserved=reserved,
            pointers=pointers,
            others=others,
        )
        return Registered(
            published=published,
            fingerprint=fingerprint,
            created_us=created_us,
            updated_us=updated_us,
            versions_kept=kept,
        )
