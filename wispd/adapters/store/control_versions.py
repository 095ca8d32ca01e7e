"""Versions, aliases and their history in ``control.db``. Revisions of a function's aliases only grow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from wispd.adapters.store.control_session import Session
from wispd.base.errors import Fault
from wispd.model.alias import LIVE, Pointer
from wispd.model.function import Route, Version
from wispd.ports.versions import Alias, Cause, Change, Kept

HISTORY_MAX: Final = 200  # entries of one function
_RUNNING: Final = "SELECT content FROM rollouts WHERE function = ? AND running = 1"
_versions = msgspec.json.Decoder(Version)
_pointers = msgspec.json.Decoder(Pointer)


class _Ends(msgspec.Struct):
    """What of a rollout matters here."""

    base: int
    target: int


class VersionStore:
    """Implements `wispd.ports.versions.Versions`. One thread at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # ── questions ───────────────────────────────────────────────────────────────────────────────────────────

    def versions(self, namespace: str, name: str, *, before: int, limit: int) -> list[Kept]:
        rows = self._session.rows(
            "SELECT content, created_by FROM versions WHERE function = ? AND number < ? ORDER BY number DESC LIMIT ?",
            self._function(namespace, name),
            before,
            limit,
        )
        return [Kept(version=_versions.decode(row[0]), created_by=row[1]) for row in rows]

    def version(self, namespace: str, name: str, *, number: int) -> Kept:
        found = self.versions(namespace, name, before=number + 1, limit=1)
        if not found or found[0].version.number != number:
            raise Fault("not_found", f"function {name!r} has no version {number}", version=number)
        return found[0]

    def same(self, namespace: str, name: str, *, fingerprint: bytes) -> Version | None:
        rows = self._session.rows(
            "SELECT v.content FROM functions f JOIN versions v ON v.function = f.id "
            "WHERE f.namespace = ? AND f.key = ? AND f.name = ? AND v.fingerprint = ?",
            *(namespace, name.lower(), name, fingerprint),
        )
        return _versions.decode(rows[0][0]) if rows else None

    def aliases(self, namespace: str, name: str) -> list[Alias]:
        rows = self._session.rows(
            "SELECT content, revision, updated_us, updated_by FROM aliases WHERE function = ? ORDER BY name",
            self._function(namespace, name),
        )
        return [
            Alias(pointer=_pointers.decode(row[0]), revision=row[1], updated_us=row[2], updated_by=row[3])
            for row in rows
        ]

    def history(self, namespace: str, name: str, *, before: int, limit: int) -> list[Change]:
        rows = self._session.rows(
            "SELECT revision, content, why, at_us, changed_by FROM history WHERE function = ? AND revision < ? "
            "ORDER BY revision DESC LIMIT ?",
            *(self._function(namespace, name), before, limit),
        )
        return [
            Change(revision=row[0], pointer=_pointers.decode(row[1]), why=row[2], at_us=row[3], changed_by=row[4])
            for row in rows
        ]

    def published(self, function: int, live: int) -> tuple[tuple[Pointer, ...], tuple[Version, ...]]:
        """Return what the data plane needs of a function besides its live version."""
        rows = self._session.rows("SELECT content FROM aliases WHERE function = ? ORDER BY name", function)
        found = [_pointers.decode(row[0]) for row in rows]
        pointers = tuple(one for one in found if one.alias != LIVE or not one.whole)
        numbers = sorted({share.number for one in pointers for share in one.shares} - {live})
        return pointers, tuple(version for version in (self._content(function, n) for n in numbers) if version)

    # ── changes ─────────────────────────────────────────────────────────────────────────────────────────────

    def point(self, namespace: str, name: str, *, pointer: Pointer, cause: Cause) -> Alias:
        with self._session.change():
            return self.shift(self._function(namespace, name), pointer, cause)

    def shift(self, function: int, pointer: Pointer, cause: Cause) -> Alias:
        """Do what `point` does, inside of a change."""
        self._check(function, pointer.alias, cause)
        present = {share.number: self._content(function, share.number) for share in pointer.shares}
        for number, version in present.items():
            if version is None:
                raise Fault("not_found", f"there is no version {number}", version=number)
        if pointer.alias == LIVE:
            primary = present[pointer.primary]
            assert primary is not None, "it was found above"
            self._live(function, primary)
        alias = self._remember(function, pointer, cause)
        self._session.execute(
            "INSERT OR REPLACE INTO aliases VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(function, pointer.alias, msgspec.json.encode(pointer), alias.revision),
            *(alias.updated_us, alias.updated_by, *self._session.source),
        )
        self._mark(function)
        return alias

    def remove_alias(self, namespace: str, name: str, *, alias: str, cause: Cause) -> None:
        function = self._function(namespace, name)
        if not self._session.rows("SELECT 1 FROM aliases WHERE function = ? AND name = ?", function, alias):
            raise Fault("not_found", f"function {name!r} has no alias {alias!r}", alias=alias)
        with self._session.change():
            self._check(function, alias, cause)
            self._session.execute("DELETE FROM aliases WHERE function = ? AND name = ?", function, alias)
            self._remember(function, Pointer(alias=alias, shares=()), cause)
            self._mark(function)

    def remove_version(self, namespace: str, name: str, *, number: int) -> None:
        self.version(namespace, name, number=number)
        function = self._function(namespace, name)
        users = [one.pointer.alias for one in self.aliases(namespace, name) if _has(one.pointer, number)]
        if users:
            listed = ", ".join(users)
            raise Fault(
                "conflict", f"version {number} is in use by alias {listed}; point it elsewhere", aliases=users
            )
        if number in self._rolling(function):
            raise Fault("conflict", f"a rollout uses version {number}; abort or promote it first", version=number)
        with self._session.change():
            self._session.execute("DELETE FROM versions WHERE function = ? AND number = ?", function, number)

    def enable(self, namespace: str, name: str, *, enabled: bool, reason: str) -> None:
        function = self._function(namespace, name)
        with self._session.change():
            self._session.execute(
                "UPDATE functions SET enabled = ?, disabled_reason = ?, updated_us = ? WHERE id = ?",
                *(enabled, "" if enabled else reason, self._session.now_us(), function),
            )

    def forget(self, function: int, *, kept: int) -> None:
        """Forget old versions, inside of a change: all but the newest `kept` and those that are in use."""
        if self._session.rows("SELECT count(*) FROM versions WHERE function = ?", function)[0][0] <= kept:
            return
        used = self._rolling(function)
        for row in self._session.rows("SELECT content FROM aliases WHERE function = ?", function):
            used |= {share.number for share in _pointers.decode(row[0]).shares}
        rows = self._session.rows("SELECT number FROM versions WHERE function = ? ORDER BY number DESC", function)
        for number in [row[0] for row in rows if row[0] not in used][kept:]:
            self._session.execute("DELETE FROM versions WHERE function = ? AND number = ?", function, number)

    def drop(self, function: int) -> None:
        """Forget everything of a function, inside of a change; its revisions go on counting."""
        for table in ("routes", "aliases", "history", "rollouts", "versions"):
            self._session.execute(f"DELETE FROM {table} WHERE function = ?", function)  # noqa: S608 (names above)
        self._session.execute("UPDATE functions SET divided = 0 WHERE id = ?", function)

    # ── parts ───────────────────────────────────────────────────────────────────────────────────────────────

    def _function(self, namespace: str, name: str) -> int:
        rows = self._session.rows(
            "SELECT id FROM functions WHERE namespace = ? AND key = ? AND name = ? AND live IS NOT NULL",
            *(namespace, name.lower(), name),
        )
        if not rows:
            raise Fault("not_found", f"function {name!r} is not in namespace {namespace!r}")
        return int(rows[0][0])

    def _content(self, function: int, number: int) -> Version | None:
        rows = self._session.rows("SELECT content FROM versions WHERE function = ? AND number = ?", function, number)
        return _versions.decode(rows[0][0]) if rows else None

    def _check(self, function: int, alias: str, cause: Cause) -> None:
        if cause.revision < 0:
            return
        rows = self._session.rows("SELECT revision FROM aliases WHERE function = ? AND name = ?", function, alias)
        present = rows[0][0] if rows else 0
        if present != cause.revision:
            shown = f'"{present}"' if present else "that it does not exist"
            message = f"alias {alias!r} has changed: its ETag is {shown}, not what was asked for"
            raise Fault("precondition_failed", message, revision=present)

    def _live(self, function: int, version: Version) -> None:
        """Make a version the one whose routes the function has."""
        self._session.execute(
            "UPDATE functions SET live = ?, updated_us = ? WHERE id = ?",
            *(version.id, self._session.now_us(), function),
        )
        self._session.execute("DELETE FROM routes WHERE function = ?", function)
        self.claim(function, version.routes)

    def claim(self, function: int, routes: Iterable[Route]) -> None:
        """Give routes to a function, inside of a change. Raises: `Fault("conflict")` for another one's."""
        for route in routes:
            taken = self._session.rows(
                "SELECT f.namespace, f.name FROM routes r JOIN functions f ON f.id = r.function "
                "WHERE r.host = ? AND r.method = ? AND r.path = ?",
                *(route.host, route.method, route.path),
            )
            if taken:
                shown = f"{route.method or 'any'} {route.host}{route.path}"
                raise Fault("conflict", f"the route {shown} belongs to function {taken[0][1]!r} in {taken[0][0]!r}")
            self._session.execute(
                "INSERT INTO routes VALUES (?, ?, ?, ?)", *(route.host, route.method, route.path, function)
            )

    def _remember(self, function: int, pointer: Pointer, cause: Cause) -> Alias:
        rows = self._session.rows(
            "UPDATE functions SET last_revision = last_revision + 1 WHERE id = ? RETURNING last_revision", function
        )
        alias = Alias(pointer=pointer, revision=rows[0][0], updated_us=self._session.now_us(), updated_by=cause.by)
        self._session.execute(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(function, alias.revision, pointer.alias, msgspec.json.encode(pointer), cause.why),
            *(alias.updated_us, cause.by, *self._session.source),
        )
        if alias.revision > HISTORY_MAX:
            self._session.execute(
                "DELETE FROM history WHERE function = ? AND revision <= ?", function, alias.revision - HISTORY_MAX
            )
        return alias

    def _mark(self, function: int) -> None:
        """Note whether the function has more than a plain `live`, so that reading all functions stays quick."""
        rows = self._session.rows("SELECT content FROM aliases WHERE function = ?", function)
        divided = len(rows) > 1 or (bool(rows) and not _pointers.decode(rows[0][0]).whole)
        self._session.execute("UPDATE functions SET divided = ? WHERE id = ?", divided, function)

    def _rolling(self, function: int) -> set[int]:
        found: list[Any] = [msgspec.json.decode(row[0], type=_Ends) for row in self._session.rows(_RUNNING, function)]
        return {number for ends in found for number in (ends.base, ends.target)}


def _has(pointer: Pointer, number: int) -> bool:
    return any(share.number == number for share in pointer.shares)
