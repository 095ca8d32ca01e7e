"""The tables of versions: aliases with their revisions, what pointed where when, rollouts."""

from __future__ import annotations

from typing import Final

DEPLOYMENTS: Final = """
ALTER TABLE functions ADD COLUMN disabled_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE functions ADD COLUMN versions_kept INTEGER NOT NULL DEFAULT 0;
ALTER TABLE functions ADD COLUMN last_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE functions ADD COLUMN divided INTEGER NOT NULL DEFAULT 0;
ALTER TABLE versions ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
CREATE TABLE aliases (
    function INTEGER NOT NULL REFERENCES functions (id), name TEXT NOT NULL, content BLOB NOT NULL,
    revision INTEGER NOT NULL, updated_us INTEGER NOT NULL, updated_by TEXT NOT NULL,
    node_id BLOB NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (function, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE history (
    function INTEGER NOT NULL REFERENCES functions (id), revision INTEGER NOT NULL, alias TEXT NOT NULL,
    content BLOB NOT NULL, why TEXT NOT NULL, at_us INTEGER NOT NULL, changed_by TEXT NOT NULL,
    node_id BLOB NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (function, revision)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollouts (
    function INTEGER PRIMARY KEY REFERENCES functions (id), content BLOB NOT NULL, running INTEGER NOT NULL,
    updated_us INTEGER NOT NULL, node_id BLOB NOT NULL, epoch INTEGER NOT NULL
) STRICT;
CREATE INDEX rollouts_running ON rollouts (running) WHERE running = 1;
INSERT INTO aliases SELECT f.id, 'live', CAST('{"alias":"live","shares":[[' || v.number || ',100]]}' AS BLOB), 1,
    f.updated_us, '', f.node_id, f.epoch FROM functions f JOIN versions v ON v.id = f.live;
INSERT INTO history SELECT function, 1, name, content, 'deployed before 0.2', updated_us, '', node_id, epoch
    FROM aliases;
UPDATE functions SET last_revision = 1 WHERE live IS NOT NULL;
"""
