"""Builds and what they made, in the control plane's store."""

from __future__ import annotations

from typing import Final

import msgspec

from wispd.adapters.store.control_session import Session
from wispd.model.build import Build

KEPT_MAX: Final = 200  # builds of one namespace
_decoder = msgspec.json.Decoder(Build)


class BuildStore:
    """Implements `BuildReading` and `BuildWriting`. One thread at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def made(self, scope: str, key: bytes) -> tuple[str, str] | None:
        rows = self._session.rows("SELECT digest, build FROM built WHERE scope = ? AND key = ?", scope, key)
        return (rows[0][0], rows[0][1]) if rows else None

    def build(self, namespace: str, build_id: str) -> Build | None:
        rows = self._session.rows("SELECT content FROM builds WHERE id = ? AND namespace = ?", build_id, namespace)
        return _decoder.decode(rows[0][0]) if rows else None

    def builds(self, namespace: str, *, before: str, limit: int) -> list[Build]:
        rows = self._session.rows(
            "SELECT content FROM builds WHERE namespace = ? AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?",
            *(namespace, before, before, limit),
        )
        return [_decoder.decode(row[0]) for row in rows]

    def keep(self, build: Build) -> list[str]:
        with self._session.change():
            self._session.execute(
                "INSERT OR REPLACE INTO builds VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(build.id, build.namespace, build.status, msgspec.json.encode(build), build.created_us),
                *self._session.source,
            )
            old = self._session.rows(
                "SELECT id FROM builds WHERE namespace = ? ORDER BY id DESC LIMIT -1 OFFSET ?",
                build.namespace,
                KEPT_MAX,
            )
            for row in old:
                self._session.execute("DELETE FROM builds WHERE id = ?", row[0])
        return [row[0] for row in old]

    def remember(self, scope: str, key: bytes, *, digest: str, build_id: str) -> None:
        with self._session.change():
            self._session.execute(
                "INSERT OR REPLACE INTO built VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(scope, key, digest, build_id, self._session.now_us(), *self._session.source),
            )

    def abandon(self) -> list[Build]:
        rows = self._session.rows("SELECT content FROM builds WHERE status = 'running'")
        found = [
            msgspec.structs.replace(
                _decoder.decode(row[0]),
                status="failed",
                finished_us=self._session.now_us(),
                message="the node was stopped while it ran; deploy again",
            )
            for row in rows
        ]
        for build in found:
            self.keep(build)
        return found
