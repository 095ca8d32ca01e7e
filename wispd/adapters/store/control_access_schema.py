"""The tables of tokens, namespaces, uploads and audit. A migration: never edited once it is released."""

from __future__ import annotations

from typing import Final

ACCESS: Final = """
ALTER TABLE tokens ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN revoked_us INTEGER NOT NULL DEFAULT 0;
UPDATE tokens SET id = 'tok_' || lower(hex(randomblob(16))), name = 'first', created_by = 'node';
CREATE UNIQUE INDEX tokens_by_id ON tokens (id);
CREATE INDEX tokens_by_namespace ON tokens (namespace, id);
CREATE TABLE namespaces (
    name TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, created_us INTEGER NOT NULL,
    node_id BLOB NOT NULL, epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO namespaces VALUES ('default', 'default', 0, zeroblob(16), 0);
INSERT OR IGNORE INTO namespaces
    SELECT namespace, lower(namespace), min(created_us), node_id, epoch FROM functions GROUP BY namespace;
CREATE TABLE uploads (
    namespace TEXT NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL, created_us INTEGER NOT NULL,
    node_id BLOB NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (namespace, kind, digest)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO uploads
    SELECT f.namespace, kinds.column1, json_extract(CAST(v.content AS TEXT), '$.' || kinds.column1),
           v.created_us, v.node_id, v.epoch
    FROM versions v JOIN functions f ON f.id = v.function, (VALUES ('code'), ('layer')) kinds
    WHERE json_extract(CAST(v.content AS TEXT), '$.' || kinds.column1) <> '';
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, namespace TEXT NOT NULL, outcome TEXT NOT NULL, content BLOB NOT NULL,
    hash BLOB NOT NULL, node_id BLOB NOT NULL, epoch INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_by_namespace ON audit (namespace, seq);
CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append only'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append only'); END;
"""
