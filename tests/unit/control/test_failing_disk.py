"""A disk that fails while the store is written: nothing is acknowledged, nothing tried again, and reads go on."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw
import pytest
from control_harness import Harness, control

from wispd.adapters.store import control_schema
from wispd.adapters.store.control import ControlStore
from wispd.adapters.store.control_schema import open_store
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault
from wispd.control.storing import lasting
from wispd.model.published import Entry
from wispd.ports.catalogue import Catalogue, StorageFailed

Story = Callable[[Harness, "Disk"], Awaitable[None]]


class File(apsw.VFSFile):
    """A file of SQLite's on a disk that may fail."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        super().__init__("unix", name, flags)

    def xWrite(self, content: bytes, offset: int) -> None:
        self._disk.judge("write", apsw.IOError)
        super().xWrite(content, offset)

    def xSync(self, flags: int) -> None:
        self._disk.judge("sync", apsw.IOError)
        super().xSync(flags)


class Disk(apsw.VFS):
    """Everything SQLite opens while this is the default file system. `fails` is what fails, and as what."""

    def __init__(self) -> None:
        self.fails: dict[str, type[apsw.Error]] = {}
        self.asked: list[str] = []
        super().__init__("failing", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> File:
        return File(self, name, flags)

    def judge(self, operation: str, usual: type[apsw.Error]) -> None:
        self.asked.append(operation)
        error = self.fails.get(operation)
        if error is not None:
            raise error(f"{operation} failed")


def played(data_dir: Path, story: Story) -> None:
    async def scenario() -> None:
        disk = Disk()
        try:
            async with control(data_dir) as node:
                await story(node, disk)
                disk.fails.clear()  # what ends is not the story
        finally:
            disk.unregister()

    asyncio.run(scenario())


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_commit_that_fails_is_not_acknowledged_and_ends_all_changes(
    tmp_path: Path, operation: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story(node: Harness, disk: Disk) -> None:
        code = await node.upload()
        assert (await node.deploy("before", code=code)).status_code == 201
        disk.fails[operation] = apsw.IOError
        answer = await node.deploy("lost", code=code)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        disk.fails.clear()  # a second flush would succeed, and mean nothing
        disk.asked.clear()
        again = await node.deploy("later", code=code)
        assert (again.status_code, again.json()["code"]) == (503, "unavailable")
        assert "until the node is restarted" in again.json()["detail"]
        assert disk.asked == [], "nothing is written any more"
        listed = await node.client.get("/v1/namespaces/default/functions")
        assert [one["name"] for one in listed.json()["items"]] == ["before"]
        ready = await node.client.get("/readyz")
        assert ready.status_code == 503
        assert any("read-only" in reason for reason in ready.json()["reasons"])
        assert (await node.client.get("/v1/status")).json()["store"]["state"] == "read_only"

    played(tmp_path, story)
    assert "control.db can't be read or written" in capfd.readouterr().err


def test_negative_control_on_a_disk_that_works_changes_go_on(tmp_path: Path) -> None:
    async def story(node: Harness, disk: Disk) -> None:
        code = await node.upload()
        for name in ("a", "b", "c"):
            assert (await node.deploy(name, code=code)).status_code == 201
        assert disk.asked.count("sync") >= 3, "the shim sees every commit"
        ready = await node.client.get("/readyz")
        assert not any("read-only" in reason for reason in ready.json()["reasons"])
        assert (await node.client.get("/v1/status")).json()["store"] == {"state": "ok", "message": ""}

    played(tmp_path, story)


def test_a_full_disk_refuses_the_change_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async def story(node: Harness, disk: Disk) -> None:
        code = await node.upload()
        disk.fails["write"] = apsw.FullError
        answer = await node.deploy("a", code=code)
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        disk.fails.clear()
        assert (await node.deploy("b", code=code)).status_code == 201
        listed = await node.client.get("/v1/namespaces/default/functions")
        assert [one["name"] for one in listed.json()["items"]] == ["b"]

    played(tmp_path, story)


def test_a_restart_recovers_what_was_acknowledged(tmp_path: Path) -> None:
    async def story(node: Harness, disk: Disk) -> None:
        code = await node.upload()
        assert (await node.deploy("kept", code=code)).status_code == 201
        disk.fails["sync"] = apsw.IOError
        assert (await node.deploy("lost", code=code)).status_code == 503

    async def restarted(node: Harness, disk: Disk) -> None:
        assert (await node.client.get("/v1/namespaces/default/functions/kept")).status_code == 200
        assert (await node.deploy("more")).status_code == 201

    played(tmp_path, story)
    played(tmp_path, restarted)


def test_what_a_killed_process_left_in_the_log_is_written_again_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    store = ControlStore(tmp_path, VirtualClock(), node_id=bytes(16), epoch=1)
    store.uploads.add("default", "code", "0" * 64)
    store.commit()
    for name in ("control.db", "control.db-wal"):
        (tmp_path / "killed" / name).write_bytes((tmp_path / name).read_bytes())
    store.close()
    log = tmp_path / "killed" / "control.db-wal"
    assert log.stat().st_size > 0
    connection = open_store(str(tmp_path / "killed" / "control.db"))
    assert log.stat().st_size == 0
    assert connection.execute("SELECT count(*) FROM uploads").fetchall() == [(1,)]
    connection.close()


def test_a_journal_that_fails_is_not_acknowledged_nor_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def broken(fd: int) -> None:
        tried.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    async def scenario() -> None:
        async with control(tmp_path) as node:
            code = await node.upload()
            monkeypatch.setattr(os, "fdatasync", broken)
            answer = await node.deploy("a", code=code)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            inode = (tmp_path / "published" / "journal.jsonl").stat().st_ino
            monkeypatch.undo()
            assert (await node.deploy("b", code=code)).status_code == 503
            assert len(tried) == 1
            assert (tmp_path / "published" / "journal.jsonl").stat().st_ino == inode
        async with control(tmp_path) as node:  # restarted: the store had it, so it is published
            assert {getattr(entry, "name", "") for entry in node.journal()} >= {"a"}
            assert (await node.deploy("b", code=code)).status_code == 201

    asyncio.run(scenario())


def test_all_changes_that_wait_are_answered(tmp_path: Path) -> None:
    async def story(node: Harness, disk: Disk) -> None:
        disk.fails["sync"] = apsw.IOError

        def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
            catalogue.uploads.add("default", "code", "0" * 64)
            return None, []

        outcomes = await asyncio.gather(*(node.node.writer.apply(change) for _ in range(300)), return_exceptions=True)
        assert {one.code for one in outcomes if isinstance(one, Fault)} == {"unavailable"}
        assert len([one for one in outcomes if isinstance(one, Fault)]) == 300

    played(tmp_path, story)


def test_a_transaction_that_sqlite_ended_by_itself_is_not_gone_on_with(tmp_path: Path) -> None:
    store = ControlStore(tmp_path, VirtualClock(), node_id=bytes(16), epoch=1)
    store.uploads.add("default", "code", "0" * 64)
    store._session.connection.execute("ROLLBACK")  # as SQLite does when the disk is full
    with pytest.raises(Fault) as caught:
        store.uploads.add("default", "code", "1" * 64)
    assert caught.value.code == "storage_full"
    with pytest.raises(Fault):
        store.commit()
    assert not store.uploads.has("default", "code", "1" * 64)
    store.uploads.add("default", "code", "2" * 64)
    store.commit()
    assert store.uploads.has("default", "code", "2" * 64)
    store.close()


def test_what_lasts_and_what_does_not() -> None:
    full, away, bug = Fault("storage_full", ""), Fault("unavailable", ""), KeyError("x")
    assert lasting(StorageFailed("x"), "change")
    assert not lasting(away, "change")
    assert not lasting(bug, "change")
    assert all(lasting(error, "commit") for error in (StorageFailed("x"), away, bug))
    assert not lasting(full, "commit")
    assert not lasting(full, "journal")
    assert lasting(StorageFailed("x"), "journal")


class Changed(apsw.Connection):
    """A connection of a SQLite that does not do what a pragma asks for."""

    ignored = ""

    def pragma(self, name: str, *value: object) -> object:  # type: ignore[override]
        if name == self.ignored and value:
            return "delete" if name == "journal_mode" else None
        return super().pragma(name, *value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "words"), [("journal_mode", "journal_mode delete"), ("synchronous", "synchronous 1")]
)
def test_a_store_that_is_not_durable_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    def hooked(connection: apsw.Connection) -> None:
        connection.execute("PRAGMA synchronous = normal")

    monkeypatch.setattr(apsw, "connection_hooks", [hooked])
    monkeypatch.setattr(Changed, "ignored", name)
    monkeypatch.setattr(apsw, "Connection", Changed)
    with pytest.raises(Fault, match=words) as caught:
        open_store(str(tmp_path / "control.db"))
    assert caught.value.code == "unavailable"


def test_negative_control_settings_of_others_are_overruled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "control.db")
    before = open_store(path)
    before.pragma("journal_mode", "delete")  # as somebody's tool may have left the file
    before.close()
    monkeypatch.setattr(Changed, "ignored", "")
    monkeypatch.setattr(apsw, "Connection", Changed)
    connection = open_store(path)
    assert (connection.pragma("journal_mode"), connection.pragma("synchronous")) == ("wal", 2)
    connection.close()


@pytest.mark.parametrize("version", ["3.51.2", "3.9.0"])
def test_a_sqlite_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    with pytest.raises(Fault, match=version):
        open_store(str(tmp_path / "control.db"))
    assert not (tmp_path / "control.db").exists()


def test_negative_control_the_oldest_one_that_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: ".".join(map(str, control_schema.SQLITE_MIN)))
    open_store(str(tmp_path / "control.db")).close()
