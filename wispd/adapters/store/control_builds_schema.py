"""The tables of builds in ``control.db``."""

from __future__ import annotations

from typing import Final

SCHEMA: Final = """
CREATE TABLE builds (
    id TEXT PRIMARY KEY, namespace TEXT NOT NULL, status TEXT NOT NULL, content BLOB NOT NULL,
    created_us INTEGER NOT NULL, node_id BLOB NOT NULL, epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX builds_by_namespace ON builds (namespace, id);
CREATE TABLE built (
    scope TEXT NOT NULL, key BLOB NOT NULL, digest TEXT NOT NULL, build TEXT NOT NULL, created_us INTEGER NOT NULL,
    node_id BLOB NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
"""
