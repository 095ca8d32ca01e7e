"""The client: packages are the same for the same content, answers become faults."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import httpx
import msgspec
import pytest

from wispd.base.errors import Fault
from wispd.client.node import NodeClient, fault_of, local
from wispd.client.packing import pack


def test_a_folder_is_packed_without_what_is_no_part_of_it(tmp_path: Path) -> None:
    for name in (
        "main.py",
        "pkg/__init__.py",
        "pkg/__pycache__/x.pyc",
        ".git/HEAD",
        ".venv/bin/python",
        "a.pyc",
        "b~",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "run.sh").write_text("")
    (tmp_path / "run.sh").chmod(0o755)
    with pack(tmp_path) as package, zipfile.ZipFile(package) as archive:
        assert archive.namelist() == ["main.py", "run.sh", "pkg/__init__.py"]
        modes = {entry.filename: oct(entry.external_attr >> 16) for entry in archive.infolist()}
        assert (modes["main.py"], modes["run.sh"]) == ("0o100644", "0o100755")
    with pack(tmp_path, layer=True) as package, zipfile.ZipFile(package) as archive:
        assert "pkg/__pycache__/x.pyc" in archive.namelist()
        assert ".git/HEAD" not in archive.namelist()


def test_the_same_content_makes_the_same_zip(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("x")
    with pack(tmp_path) as first:
        one = first.read()
    os.utime(tmp_path / "main.py", (0, 0))
    with pack(tmp_path) as second:
        assert second.read() == one


def test_a_file_and_a_zip_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("x")
    with pack(tmp_path / "one.py") as package, zipfile.ZipFile(package) as archive:
        assert archive.namelist() == ["one.py"]
    (tmp_path / "p.zip").write_bytes(b"anything: the node checks it")
    with pack(tmp_path / "p.zip") as package:
        assert package.read() == b"anything: the node checks it"


def test_nothing_links_and_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="does not exist"):
        pack(tmp_path / "none")
    with pytest.raises(Fault, match="no files"):
        pack(tmp_path)
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(Fault, match="symbolic link"):
        pack(tmp_path)
    (tmp_path / "link").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Fault, match="neither a file"):
        pack(tmp_path)


def test_limits_are_checked_before_anything_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("12345")
    (tmp_path / "b").write_text("")
    monkeypatch.setattr("wispd.client.packing.FILES_MAX", 1)
    with pytest.raises(Fault, match="2 files, limit 1"):
        pack(tmp_path)
    monkeypatch.setattr("wispd.client.packing.FILES_MAX", 2)
    monkeypatch.setattr("wispd.client.packing.BYTES_MAX", 4)
    with pytest.raises(Fault, match="5 bytes, limit 4"):
        pack(tmp_path)


def test_a_problem_becomes_the_fault_it_was() -> None:
    problem = {"code": "throttled", "detail": "slow down", "status": 429, "limit": 7, "message": "x", "self": 1}
    fault = fault_of(httpx.Response(429, content=msgspec.json.encode(problem), headers={"retry-after": "3"}))
    assert (fault.code, fault.message, fault.retry_after_s, fault.facts) == (
        "throttled",
        "slow down",
        3.0,
        {"limit": 7},
    )


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b'{"code": "new_code", "detail": "d"}', b"null"])
def test_any_other_failure_is_internal(content: bytes) -> None:
    assert fault_of(httpx.Response(500, content=content)).code == "internal"


def test_nobody_there_is_said_so() -> None:
    with NodeClient("http://127.0.0.1:1", "t") as client, pytest.raises(Fault) as refused:
        client.status()
    assert refused.value.code == "unavailable"
    assert "http://127.0.0.1:1" in refused.value.message


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b'{"admin_url": "u", "state": "ended"}'])
def test_a_directory_without_a_node_is_said_so(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "cli-token").write_text("t")
    if content is not None:
        (tmp_path / "run" / "status.json").write_bytes(content)
    with pytest.raises(Fault, match="wisp up"):
        local(tmp_path)
