"""Sealed secrets in ``control.db``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from wispd.adapters.store.control_session import Session, told
from wispd.model.secret import SealedSecret

_SELECT: Final = "SELECT namespace, name, version, key_id, wrapped, sealed, created_us, updated_us FROM secrets "
_USERS: Final = """
SELECT DISTINCT f.name FROM functions f JOIN versions v ON v.id = f.live, json_each(v.content, '$.secrets') s
WHERE f.namespace = ? AND json_extract(s.value, '$.name') = ? ORDER BY f.key LIMIT 20
"""


class ControlSecrets:
    """Implements `wispd.ports.secrets.SecretStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, namespace: str, name: str) -> SealedSecret | None:
        rows = self._session.rows(_SELECT + "WHERE namespace = ? AND name = ?", namespace, name)
        return _secret(rows[0]) if rows else None

    def page(self, namespace: str, *, after: str, limit: int) -> list[SealedSecret]:
        where = "WHERE namespace = ? AND name > ? ORDER BY name LIMIT ?"
        return [_secret(row) for row in self._session.rows(_SELECT + where, namespace, after, limit)]

    def all(self) -> Iterator[SealedSecret]:
        with told():
            for row in self._session.connection.execute(_SELECT + "ORDER BY namespace, name"):
                yield _secret(row)

    def put(self, secret: SealedSecret) -> None:
        row = (secret.namespace, secret.name, secret.version, secret.key_id, secret.wrapped, secret.sealed)
        times = (secret.created_us, secret.updated_us)
        with self._session.change():
            self._session.execute(
                "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(*row, *times, *self._session.source),
            )

    def delete(self, namespace: str, name: str) -> bool:
        with self._session.change():
            return bool(
                self._session.execute("DELETE FROM secrets WHERE namespace = ? AND name = ?", namespace, name)
            )

    def users(self, namespace: str, name: str) -> list[str]:
        return [str(row[0]) for row in self._session.rows(_USERS, namespace, name)]

    def key_ids(self) -> frozenset[str]:
        return frozenset(str(row[0]) for row in self._session.rows("SELECT DISTINCT key_id FROM secrets"))


def _secret(row: tuple[Any, ...]) -> SealedSecret:
    names = ("namespace", "name", "version", "key_id", "wrapped", "sealed", "created_us", "updated_us")
    return SealedSecret(**dict(zip(names, row, strict=True)))
