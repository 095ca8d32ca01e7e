"""The control plane's store: durable on commit, all or nothing, migrated, and honest about what it can't do."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from wispd.adapters.store import control_schema
from wispd.adapters.store.control import ControlStore
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault
from wispd.model.alias import whole
from wispd.model.function import Route, Version
from wispd.model.published import Token
from wispd.ports.catalogue import Wanted
from wispd.ports.versions import Cause


def opened(data_dir: Path) -> ControlStore:
    return ControlStore(data_dir, VirtualClock(), node_id=bytes(16), epoch=3)


def wanted(name: str = "a", mark: bytes = b"1", routes: tuple[Route, ...] = ()) -> Wanted:
    version = Version(
        id=f"ver_{name}{mark.hex()}", namespace="n", function=name, number=0, code="0", handler="", routes=routes
    )
    return Wanted(version=version, fingerprint=mark)


def test_what_is_committed_is_there_and_nothing_else(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put(wanted("a"))
    store.commit()
    store.put(wanted("b"))
    store.rollback()
    other = opened(tmp_path)
    assert [one.published.name for one in other.page("n", after="", limit=9)] == ["a"]
    store.close()
    other.close()


def test_it_is_durable_and_says_who_wrote(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put(wanted("a"))
    store.credentials.add(Token(digest="d", role="admin"), created_by="node")
    store.commit()
    connection = apsw.Connection(str(tmp_path / "control.db"))
    assert connection.pragma("journal_mode") == "wal"
    assert store._connection.pragma("synchronous") == 2
    for table in ("functions", "versions", "tokens"):
        rows = connection.execute(f"SELECT node_id, epoch FROM {table}").fetchall()
        assert rows == [(bytes(16), 3)]
    connection.close()
    store.close()


def test_versions_count_and_equal_content_comes_back(tmp_path: Path) -> None:
    store = opened(tmp_path)
    found = [store.put(wanted("a", mark)) for mark in (b"1", b"2", b"1")]
    assert [(one.published.live.number, fresh) for one, fresh in found] == [(1, True), (2, True), (1, False)]
    store.delete("n", "a")
    assert store.find("n", "a") is None
    assert store.put(wanted("A", b"1"))[0].published.live.number == 3, "numbers are never used again"
    with pytest.raises(Fault, match="case only"):
        store.put(wanted("a", b"9"))
    store.rollback()
    store.close()


def test_a_refused_change_leaves_the_others_of_its_group(tmp_path: Path) -> None:
    store = opened(tmp_path)
    route = (Route("", "GET", "/shop"),)
    store.put(wanted("a", routes=route))
    with pytest.raises(Fault, match="belongs to function 'a'"):
        store.put(wanted("b", routes=route))
    store.put(wanted("c"))
    store.commit()
    assert [one.published.name for one in store.page("n", after="", limit=9)] == ["a", "c"]
    store.close()


def test_old_versions_are_forgotten_but_never_one_that_an_alias_points_at(tmp_path: Path) -> None:
    store = ControlStore(tmp_path, VirtualClock(), node_id=bytes(16), epoch=3, versions_kept=3)
    for number in range(10):
        store.put(wanted("a", bytes([number])))
        if number == 1:
            store.versions.point("n", "a", pointer=whole("beta", 2), cause=Cause(why="test"))
    kept = store._connection.execute("SELECT number FROM versions ORDER BY number").fetchall()
    assert kept == [(2,), (7,), (8,), (9,), (10,)]
    store.rollback()
    store.close()


def test_an_older_file_is_migrated_and_a_newer_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    store.put(wanted("a"))
    store.commit()
    store.close()
    step = "ALTER TABLE functions ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';"
    with monkeypatch.context() as patch:
        patch.setattr(control_schema, "MIGRATIONS", (*control_schema.MIGRATIONS, step))
        store = opened(tmp_path)
        assert store._connection.execute("SELECT colour FROM functions").fetchall() == [("red",)]
        store.close()
    with pytest.raises(Fault, match=rf"format {len(control_schema.MIGRATIONS) + 1}, this version reads up to"):
        opened(tmp_path)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path).close()
    monkeypatch.setattr(
        control_schema, "MIGRATIONS", (*control_schema.MIGRATIONS, "CREATE TABLE half (a); CREATE NONSENSE;")
    )
    with pytest.raises(Fault):
        opened(tmp_path)
    connection = apsw.Connection(str(tmp_path / "control.db"))
    assert connection.pragma("user_version") == len(control_schema.MIGRATIONS) - 1
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchall() == [(0,)]
    connection.close()


def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(Fault, match=r"3\.51\.2"):
        opened(tmp_path)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(Fault) as caught:
        opened(tmp_path)
    assert caught.value.code == "unavailable"
