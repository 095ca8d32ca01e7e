"""Tokens, namespaces and the ownership of uploads, in ``control.db``."""

from __future__ import annotations

from typing import Any, Final

from wispd.adapters.store.control_session import Session
from wispd.base.errors import Fault
from wispd.model.published import Token
from wispd.ports.access import Credential, Namespace, UploadKind

TOKENS_MAX: Final = 1000  # of one namespace
NAMESPACES_MAX: Final = 10_000
DEFAULT: Final = "default"
_ROW: Final = "SELECT digest, role, namespace, expires_us, id, name, created_us, created_by FROM tokens "
_LIVE: Final = "revoked_us = 0 "


class CredentialStore:
    """Implements `wispd.ports.access.Credentials`. A revoked token's row stays, so it is never taken in again."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def by_digest(self, digest: str) -> Token | None:
        rows = self._session.rows(_ROW + "WHERE digest = ? AND " + _LIVE, digest)
        return _token(rows[0]) if rows else None

    def all(self) -> list[Token]:
        return [_token(row) for row in self._session.rows(_ROW + "WHERE " + _LIVE + "ORDER BY digest")]

    def page(self, namespace: str, *, after: str, limit: int) -> list[Credential]:
        where = "WHERE namespace = ? AND id > ? AND " + _LIVE + "ORDER BY id LIMIT ?"
        rows = self._session.rows(_ROW + where, namespace, after, limit)
        return [Credential(token=_token(row), created_us=row[6], created_by=row[7]) for row in rows]

    def add(self, token: Token, *, created_by: str) -> bool:
        if self._session.rows("SELECT 1 FROM tokens WHERE digest = ?", token.digest):
            return False
        count = "SELECT count(*) FROM tokens WHERE namespace = ? AND revoked_us = 0"
        if self._session.rows(count, token.namespace)[0][0] >= TOKENS_MAX:
            raise Fault("conflict", f"there are {TOKENS_MAX} tokens already; revoke some", limit=TOKENS_MAX)
        with self._session.change():
            self._session.execute(
                "INSERT INTO tokens (digest, role, namespace, expires_us, id, name, created_by, created_us, node_id, "
                "epoch) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(token.digest, token.role, token.namespace, token.expires_us, token.id, token.name, created_by),
                *(self._session.now_us(), *self._session.source),
            )
        return True

    def revoke(self, namespace: str, token_id: str) -> Token:
        rows = self._session.rows(_ROW + "WHERE namespace = ? AND id = ? AND " + _LIVE, namespace, token_id)
        if not rows:
            raise Fault("not_found", f"there is no token {token_id[:80]!r} here", token=token_id[:80])
        token = _token(rows[0])
        if _is_root(token) and not any(_is_root(other) for other in self.all() if other.digest != token.digest):
            text = "this is the last admin token of the node that does not expire; create another one first"
            raise Fault("conflict", text, token=token_id)
        self._revoke(token)
        return token

    def revoke_all(self, namespace: str) -> list[Token]:
        rows = self._session.rows(_ROW + "WHERE namespace = ? AND " + _LIVE, namespace)
        tokens = [_token(row) for row in rows]
        for token in tokens:
            self._revoke(token)
        return tokens

    def _revoke(self, token: Token) -> None:
        with self._session.change():
            now_us = self._session.now_us()
            self._session.execute("UPDATE tokens SET revoked_us = ? WHERE digest = ?", now_us, token.digest)


class NamespaceStore:
    """Implements `wispd.ports.access.Namespaces`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, name: str) -> Namespace | None:
        rows = self._session.rows("SELECT name, created_us FROM namespaces WHERE name = ?", name)
        return Namespace(name=rows[0][0], created_us=rows[0][1]) if rows else None

    def page(self, *, after: str, limit: int) -> list[Namespace]:
        sql = "SELECT name, created_us FROM namespaces WHERE key > ? ORDER BY key LIMIT ?"
        return [Namespace(name=row[0], created_us=row[1]) for row in self._session.rows(sql, after.lower(), limit)]

    def add(self, name: str) -> Namespace:
        taken = self._session.rows("SELECT name FROM namespaces WHERE key = ?", name.lower())
        if taken:
            raise Fault("conflict", f"there is a namespace {taken[0][0]!r} already", namespace=taken[0][0])
        if self._session.rows("SELECT count(*) FROM namespaces")[0][0] >= NAMESPACES_MAX:
            raise Fault("conflict", f"there are {NAMESPACES_MAX} namespaces already", limit=NAMESPACES_MAX)
        with self._session.change():
            row = (name, name.lower(), self._session.now_us(), *self._session.source)
            self._session.execute("INSERT INTO namespaces VALUES (?, ?, ?, ?, ?)", *row)
        found = self.find(name)
        assert found is not None, "what was just added is there"
        return found

    def remove(self, name: str) -> None:
        if self.find(name) is None:
            raise Fault("not_found", f"there is no namespace {name[:80]!r} here", namespace=name[:80])
        if name == DEFAULT:
            raise Fault("conflict", "the namespace 'default' is always there", namespace=name)
        sql = "SELECT name FROM functions WHERE namespace = ? AND live IS NOT NULL LIMIT 1"
        left = self._session.rows(sql, name)
        if left:
            text = f"namespace {name!r} has functions ({left[0][0]!r} is one); delete them first"
            raise Fault("conflict", text, namespace=name)
        with self._session.change():
            self._session.execute("DELETE FROM uploads WHERE namespace = ?", name)
            self._session.execute("DELETE FROM namespaces WHERE name = ?", name)


class UploadStore:
    """Implements `wispd.ports.access.Uploads`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def has(self, namespace: str, kind: UploadKind, digest: str) -> bool:
        sql = "SELECT 1 FROM uploads WHERE namespace = ? AND kind = ? AND digest = ?"
        return bool(self._session.rows(sql, namespace, kind, digest))

    def add(self, namespace: str, kind: UploadKind, digest: str) -> None:
        with self._session.change():
            row = (namespace, kind, digest, self._session.now_us(), *self._session.source)
            self._session.execute("INSERT OR IGNORE INTO uploads VALUES (?, ?, ?, ?, ?, ?)", *row)


def _token(row: tuple[Any, ...]) -> Token:
    digest, role, namespace, expires_us, token_id, name = row[:6]
    return Token(digest=digest, role=role, namespace=namespace, expires_us=expires_us, id=token_id, name=name)


def _is_root(token: Token) -> bool:
    """Does it open everything, for ever?"""
    return token.role == "admin" and not token.namespace and not token.expires_us
