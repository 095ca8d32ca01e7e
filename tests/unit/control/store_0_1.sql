-- control.db as Wisp 0.1 wrote it: one function with two versions, the second live; one that was deleted; one route.
PRAGMA user_version = 1;
CREATE TABLE functions (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, live TEXT,
    enabled INTEGER NOT NULL, concurrency_reserved INTEGER NOT NULL, last_number INTEGER NOT NULL,
    created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, node_id BLOB NOT NULL, epoch INTEGER NOT NULL,
    UNIQUE (namespace, key)
) STRICT;
CREATE TABLE versions (
    id TEXT PRIMARY KEY, function INTEGER NOT NULL REFERENCES functions (id), number INTEGER NOT NULL,
    fingerprint BLOB NOT NULL, content BLOB NOT NULL, created_us INTEGER NOT NULL,
    node_id BLOB NOT NULL, epoch INTEGER NOT NULL, UNIQUE (function, number), UNIQUE (function, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE TABLE routes (
    host TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, function INTEGER NOT NULL REFERENCES functions (id),
    PRIMARY KEY (host, method, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX routes_by_function ON routes (function);
CREATE TABLE tokens (
    digest TEXT PRIMARY KEY, role TEXT NOT NULL, namespace TEXT NOT NULL, expires_us INTEGER NOT NULL,
    created_us INTEGER NOT NULL, node_id BLOB NOT NULL, epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO functions VALUES (1, 'default', 'Hello', 'hello', 'ver_2', 1, -1, 2, 1000, 2000, x'00', 1);
INSERT INTO functions VALUES (2, 'default', 'gone', 'gone', NULL, 1, -1, 7, 1000, 2000, x'00', 1);
INSERT INTO versions VALUES ('ver_1', 1, 1, x'01', CAST(
'{"id":"ver_1","namespace":"default","function":"Hello","number":1,"code":"aa","handler":"","dialect":"native","created_us":1000}'
AS BLOB), 1000, x'00', 1);
INSERT INTO versions VALUES ('ver_2', 1, 2, x'02', CAST(
'{"id":"ver_2","namespace":"default","function":"Hello","number":2,"code":"bb","handler":"","dialect":"native","routes":[["","GET","/shop"]],"created_us":2000}'
AS BLOB), 2000, x'00', 1);
INSERT INTO routes VALUES ('', 'GET', '/shop', 1);
INSERT INTO tokens VALUES ('dd', 'admin', '', 0, 1000, x'00', 1);
