"""The audit log as it is kept: appended to, never changed."""

from __future__ import annotations

from typing import Protocol

from wispd.model.audit import AuditEntry, Row


class Audit(Protocol):
    """Appending belongs into the writer. Raises: `Fault` `storage_full`, `unavailable`."""

    def append(self, entry: AuditEntry) -> int:
        """Add an entry to the chain; returns its number."""

    def page(self, *, namespace: str | None, outcome: str, before: int, limit: int) -> list[Row]:
        """Return entries, newest first, those before number `before` (0: all); None: of every namespace."""
