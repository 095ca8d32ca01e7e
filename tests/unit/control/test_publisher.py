"""The publication journal: what was appended is there, a torn or stale one is written anew, a full disk is told."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from control_harness import control

from wispd.base.errors import Fault
from wispd.control import publisher
from wispd.control.publisher import Publisher
from wispd.model.function import Published, Version
from wispd.model.published import Entry, Withdrawn, decode, encode


def function(name: str, number: int = 1) -> Published:
    live = Version(id=f"ver_{number}", namespace="n", function=name, number=number, code="00", handler="")
    return Published(namespace="n", name=name, live=live)


def read(data_dir: Path) -> list[Entry]:
    content = (data_dir / "published" / "journal.jsonl").read_bytes()
    return [decode(line) for line in content.splitlines(keepends=True)]


def opened(data_dir: Path, entries: list[Entry]) -> Publisher:
    writer = Publisher(data_dir, lambda: entries)
    writer.compact()
    return writer


def test_offsets_are_the_ends_of_what_is_on_the_disk(tmp_path: Path) -> None:
    writer = opened(tmp_path, [function("a")])
    path = tmp_path / "published" / "journal.jsonl"
    assert writer.offset == path.stat().st_size
    assert writer.append([function("b"), Withdrawn(namespace="n", name="a")]) == path.stat().st_size
    assert [type(entry).__name__ for entry in read(tmp_path)] == ["Published", "Published", "Withdrawn"]
    assert path.stat().st_mode & 0o777 == 0o600
    writer.close()


def test_a_torn_journal_is_replaced_whole_at_start(tmp_path: Path) -> None:
    opened(tmp_path, [function("a")]).close()
    path = tmp_path / "published" / "journal.jsonl"
    path.write_bytes(path.read_bytes() + b'{"function":{"namesp')
    inode = path.stat().st_ino
    writer = opened(tmp_path, [function("a"), function("b")])
    assert read(tmp_path) == [function("a"), function("b")]
    assert path.stat().st_ino != inode, "a reader sees that it has to begin anew"
    writer.close()


def test_a_journal_that_says_what_the_store_does_is_kept_and_appended_to(tmp_path: Path) -> None:
    opened(tmp_path, [function("a"), function("b")]).close()
    path = tmp_path / "published" / "journal.jsonl"
    before = path.stat()
    writer = Publisher(tmp_path, lambda: [function("a"), function("b")])
    assert writer.open() == before.st_size
    assert path.stat().st_ino == before.st_ino, "a reader that has read it has nothing to read again"
    assert writer.append([function("c")]) == path.stat().st_size
    assert read(tmp_path) == [function("a"), function("b"), function("c")]
    writer.close()


@pytest.mark.parametrize("left", [b"", b'{"function":{"namesp', encode(function("z"))])
def test_a_journal_that_says_anything_else_is_written_anew_at_the_start(tmp_path: Path, left: bytes) -> None:
    opened(tmp_path, [function("a")]).close()
    path = tmp_path / "published" / "journal.jsonl"
    content = path.read_bytes()
    path.write_bytes(content + left if left else content[:-1])
    inode = path.stat().st_ino
    writer = Publisher(tmp_path, lambda: [function("a")])
    writer.open()
    assert read(tmp_path) == [function("a")]
    assert path.stat().st_ino != inode
    writer.close()


def test_a_mostly_stale_journal_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "STALE_LINES_MIN", 5)
    writer = opened(tmp_path, [function("a", 99)])
    for number in range(5):
        writer.append([function("a", number)])
    assert writer.lines == 6
    writer.append([function("a", 99)])
    assert (writer.lines, read(tmp_path)) == (1, [function("a", 99)])
    writer.close()


def test_a_failed_append_is_told_and_healed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries: list[Entry] = [function("a")]
    writer = opened(tmp_path, entries)

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    entries.append(function("b"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        with pytest.raises(Fault) as caught:
            writer.append([function("b")])
    assert caught.value.code == "storage_full"
    assert writer.broken
    entries.append(function("c"))
    writer.append([function("c")])
    assert read(tmp_path) == [function("a"), function("b"), function("c")]
    assert not writer.broken
    writer.close()


def test_a_failed_rewrite_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = opened(tmp_path, [function("a")])

    def broken(source: Path, target: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", broken)
        with pytest.raises(Fault, match="Input/output"):
            writer.compact()
    assert read(tmp_path) == [function("a")]
    assert [path.name for path in (tmp_path / "published").iterdir()] == ["journal.jsonl"]


def test_a_deployment_during_a_full_disk_is_published_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            code = await node.upload()

            def full(fd: int) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr(os, "fdatasync", full)
                answer = await node.deploy("a", code=code)
                assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
            assert (await node.deploy("b", code=code)).status_code == 201
            assert {entry.name for entry in node.journal() if isinstance(entry, Published)} == {"a", "b"}

    asyncio.run(scenario())
