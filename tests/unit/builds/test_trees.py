"""Files that a sandbox sends: taken as they are claimed, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wisp.runtime.building import records, trees
from wispd.base.errors import Fault
from wispd.control.buildstream import Done, FileHead, Log, Piece, StreamReader
from wispd.control.packaging import Bounds, Packages, tree_digest
from wispd.control.treewriter import TreeWriter

BOUNDS = Bounds(files=10, file_bytes=1000)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[TreeWriter]:
    folder = tmp_path / "written"
    folder.mkdir()
    writer = TreeWriter(folder, BOUNDS, what="layer")
    yield writer
    writer.close()


def taken(content: bytes, writer: TreeWriter) -> None:
    for record in StreamReader().feed(content):
        if isinstance(record, FileHead):
            writer.begin(record.path, executable=record.executable, size=record.size)
        elif isinstance(record, Piece):
            writer.write(record.content)


def test_a_tree_arrives_as_it_was(tmp_path: Path, writer: TreeWriter) -> None:
    made = tmp_path / "made"
    (made / "pkg").mkdir(parents=True)
    (made / "pkg/__init__.py").write_text("x = 1\n")
    (made / "pkg/empty").write_bytes(b"")
    (made / "tool").write_text("#!")
    (made / "tool").chmod(0o755)
    taken(b"".join(trees.send(str(made), "layer")), writer)
    writer.end()
    assert sorted((path, executable) for path, executable, _ in writer.files) == [
        ("pkg/__init__.py", False),
        ("pkg/empty", False),
        ("tool", True),
    ]
    assert (writer.directory / "pkg/__init__.py").read_text() == "x = 1\n"
    assert (writer.directory / "tool").stat().st_mode & 0o777 == 0o555


def test_what_is_kept_has_the_digest_of_its_content(tmp_path: Path) -> None:
    store = Packages(tmp_path, "layers", BOUNDS)
    writer = TreeWriter(store.temporary(), BOUNDS, what="layer")
    writer.begin("a", executable=False, size=1)
    writer.write(b"x")
    digest = store.keep(writer.directory, writer.files)
    writer.close()
    assert digest == tree_digest(writer.files)
    assert (store.path(digest) / "a").read_bytes() == b"x"
    store.discard(digest)
    assert not store.has(digest)


@pytest.mark.parametrize(
    "path",
    ["/etc/x", "../x", "a/../x", "a//b", "", ".", "a\\b", "a\nb", "a\0b", "x" * 300, "\ud800", "a/" * 70 + "b"],
)
def test_a_path_that_leads_anywhere_else_is_refused(path: str, writer: TreeWriter) -> None:
    with pytest.raises(Fault, match="refused") as caught:
        writer.begin(path, executable=False, size=0)
    assert caught.value.code == "build_failed"
    assert list(writer.directory.rglob("*")) == []


def _twice(writer: TreeWriter) -> None:
    writer.begin("a", executable=False, size=0)
    writer.begin("a", executable=False, size=0)


def _below_a_file(writer: TreeWriter) -> None:
    writer.begin("a", executable=False, size=0)
    writer.begin("a/b", executable=False, size=0)


def _longer(writer: TreeWriter) -> None:
    writer.begin("a", executable=False, size=1)
    writer.write(b"xy")


def _cut_off(writer: TreeWriter) -> None:
    writer.begin("a", executable=False, size=2)
    writer.end()


def _too_large(writer: TreeWriter) -> None:
    writer.begin("a", executable=False, size=1001)


def _too_many(writer: TreeWriter) -> None:
    for number in range(11):
        writer.begin(f"f{number}", executable=False, size=0)


@pytest.mark.parametrize("attack", [_twice, _below_a_file, _longer, _cut_off, _too_large, _too_many])
def test_a_stream_that_lies_is_refused(attack: Callable[[TreeWriter], None], writer: TreeWriter) -> None:
    with pytest.raises(Fault, match="refused"):
        attack(writer)


def test_links_inside_become_files_and_links_outside_are_refused(tmp_path: Path, writer: TreeWriter) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "real").write_text("content")
    (made / "link").symlink_to("real")
    taken(b"".join(trees.send(str(made), "layer")), writer)
    assert (writer.directory / "link").read_text() == "content"
    assert not (writer.directory / "link").is_symlink()
    (made / "leak").symlink_to("/etc/passwd")
    with pytest.raises(trees.TreeRefused, match="leads out"):
        trees.files_of(str(made))


def test_pipes_and_sockets_are_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(trees.TreeRefused, match="only files and folders"):
        trees.files_of(str(tmp_path))


def test_records_are_read_however_they_are_cut() -> None:
    content = (
        records.pack(records.LOG, b"hello")
        + records.pack(records.BYTES, b"x" * 100)
        + records.pack(records.DONE, b"")
    )
    reader = StreamReader()
    found = [record for at in range(len(content)) for record in reader.feed(content[at : at + 1])]
    assert found == [Log(b"hello"), Piece(b"x" * 100), Done()]


@pytest.mark.parametrize(
    "content",
    [
        records.HEAD.pack(records.LOG, records.LENGTH_MAX + 1),
        records.pack(99, b""),
        records.pack(records.FILE, b"not json"),
        records.pack(records.FILE, json.dumps({"tree": "layer", "path": 5}).encode()),
        records.pack(records.FAILED, json.dumps({"reason": "because", "label": "", "detail": ""}).encode()),
    ],
)
def test_what_is_no_record_ends_the_build(content: bytes) -> None:
    with pytest.raises(Fault, match="broke its output"):
        list(StreamReader().feed(content))
