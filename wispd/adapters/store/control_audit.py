"""The audit log in ``control.db``: a chain of hashes, in the same transaction as what it is about."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from wispd.adapters.store.control_session import FILE_NAME, Session, told
from wispd.model.audit import GENESIS, AuditEntry, Row, Verdict, content_of, link, verify

_ALL: Final = "SELECT seq, namespace, content, hash FROM audit ORDER BY seq"


class AuditStore:
    """Implements `wispd.ports.audit.Audit`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, entry: AuditEntry) -> int:
        with self._session.change():
            last = self._session.rows("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
            number, previous = last[0] if last else (0, GENESIS)
            seq, content = int(number) + 1, content_of(entry)
            row = (seq, entry.namespace, entry.outcome, content, link(previous, seq, content), *self._session.source)
            self._session.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", *row)
        return seq

    def page(self, *, namespace: str | None, outcome: str, before: int, limit: int) -> list[Row]:
        return self._session.rows(
            "SELECT seq, namespace, content, hash FROM audit WHERE seq < ? AND (? IS NULL OR namespace = ?) "
            "AND ? IN ('', outcome) ORDER BY seq DESC LIMIT ?",
            *(before or 1 << 62, namespace, namespace, outcome, limit),
        )


def walk(data_dir: Path, kept: str = "") -> Verdict:
    """Verify the whole log, on a connection of its own; blocks. Raises: `Fault("unavailable")`."""
    with told():
        connection = apsw.Connection(str(data_dir / FILE_NAME), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return verify(connection.execute(_ALL), kept)
        finally:
            connection.close()
