"""Zips from a stranger (reliability B1, B3, B4): each is refused, nothing of it stays, its honest twin is taken."""

from __future__ import annotations

import io
import os
import stat
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from wispd.base.errors import Fault
from wispd.control import archive
from wispd.control.packaging import Bounds, Packages, Tree

BOUNDS = Bounds(files=50, file_bytes=1_000_000)


def make(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def named(name: bytes) -> bytes:
    """Return a zip whose one file has exactly these bytes as its name: writers would correct it."""
    return make(("N" * len(name), b"x")).replace(b"N" * len(name), name)


def special(mode: int) -> bytes:
    member = zipfile.ZipInfo("link")
    member.create_system = 3
    member.external_attr = mode << 16
    return make((member, b"/etc/passwd"))


def patched(at: int, value: bytes, *, central: bool = True, content: bytes = b"x" * 1000) -> bytes:
    """Return a zip with one file, a field of whose header is changed. Offsets: APPNOTE 4.3.7 and 4.3.12."""
    raw = bytearray(make(("a.py", content)))
    start = raw.find(b"PK\x01\x02") if central else 0
    raw[start + at : start + at + len(value)] = value
    return bytes(raw)


def twice(first: str, second: str) -> bytes:
    return make((first, b"1"), (second, b"2"))


def duplicate() -> bytes:
    return make(("a.py", b"1"), ("b.py", b"2")).replace(b"b.py", b"a.py")


def overlapping() -> bytes:
    """Return a zip of which two directory entries point at the same bytes."""
    raw = make(("a.py", b"x" * 100), ("b.py", b"y" * 100))
    second = raw.rfind(b"PK\x01\x02")
    return raw[: second + 42] + struct.pack("<L", 0) + raw[second + 46 :]


def local_name_differs() -> bytes:
    raw = make(("a.py", b"1"))
    return raw.replace(b"a.py", b"b.py", 1)


SHAPES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no zip": lambda: b"#!/bin/sh\n" * 100,
    "no file": lambda: make(),
    "only ignored": lambda: make((".git/config", b"x"), ("a/__pycache__/b.pyc", b"x")),
    "cut off": lambda: make(("a.py", b"x" * 1000))[:-30],
    "head cut off": lambda: make(("a.py", os.urandom(1000)))[100:],
    "appended": lambda: make(("a.py", b"x")) + b"#",
    "prepended": lambda: b"#!/bin/sh\n" + make(("a.py", b"x")),
    "parent": lambda: make(("../x", b"x")),
    "parent inside": lambda: make(("a/../../b", b"x")),
    "dot": lambda: make(("./a", b"x")),
    "empty part": lambda: make(("a//b", b"x")),
    "absolute": lambda: make(("/abs", b"x")),
    "backslash": lambda: named(rb"..\\x"),
    "drive": lambda: make(("C:x", b"x")),
    "nul": lambda: named(b"a\0b"),
    "newline": lambda: named(b"a\nb"),
    "long name": lambda: make(("a" * 5000, b"x")),
    "long part": lambda: make(("a" * 256, b"x")),
    "deep": lambda: make(("a/" * 65 + "b", b"x")),
    "duplicate": duplicate,
    "case twins": lambda: twice("Main.py", "main.py"),
    "case twins of folders": lambda: twice("A/x", "a/y"),
    "form twins": lambda: twice("caf\u00e9", "cafe\u0301"),
    "file and folder": lambda: twice("a", "a/b"),
    "symbolic link": lambda: special(stat.S_IFLNK | 0o777),
    "device": lambda: special(stat.S_IFCHR | 0o666),
    "fifo": lambda: special(stat.S_IFIFO | 0o666),
    "encrypted": lambda: patched(8, b"\x01\x00"),
    "encrypted locally": lambda: patched(6, b"\x01\x00", central=False),
    "method": lambda: patched(10, b"\x0c\x00"),
    "method locally": lambda: patched(8, b"\x00\x00", central=False),
    "bad crc": lambda: patched(16, b"\0\0\0\0"),
    "lies small": lambda: patched(24, struct.pack("<L", 10)),
    "lies large": lambda: patched(24, struct.pack("<L", 5000)),
    "overlapping": overlapping,
    "other local name": local_name_differs,
    "zip64 size": lambda: patched(24, b"\xff\xff\xff\xff"),
    "bad utf-8": lambda: patched(8, b"\x00\x08").replace(b"a.py", b"\xff.py"),
}
TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "bomb": lambda: make(("a.py", b"\0" * 50_000_000)),
    "many": lambda: make(*[(f"f{number}", b"") for number in range(51)]),
    "together": lambda: make(*[(f"f{number}", b"\0" * 300_000) for number in range(4)]),
    "a million": lambda: b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, 0, 0, 0),
}


def store(data_dir: Path, content: bytes, bounds: Bounds = BOUNDS) -> Tree:
    return Packages(data_dir, "code", bounds).store(io.BytesIO(content))


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_wrong_zip_is_refused_and_nothing_stays(tmp_path: Path, shape: str) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    with pytest.raises(Fault) as caught:
        store(data_dir, SHAPES[shape]())
    assert caught.value.code == "invalid_argument"
    assert everything(tmp_path) == ["data", "data/code", "data/incoming"]


@pytest.mark.parametrize("shape", TOO_LARGE)
def test_a_zip_that_grows_is_refused_and_nothing_stays(tmp_path: Path, shape: str) -> None:
    with pytest.raises(Fault) as caught:
        store(tmp_path, TOO_LARGE[shape]())
    assert caught.value.code == "payload_too_large"
    assert everything(tmp_path) == ["code", "incoming"]


def test_a_lie_about_the_size_stops_the_inflating(tmp_path: Path) -> None:
    """The declared size is within the limit, the content is not: it is counted while it is inflated."""
    content = patched(24, struct.pack("<L", 999), content=b"\0" * 50_000_000)
    entry = archive.entries(io.BytesIO(content), files_max=9)[0]
    seen: list[int] = []
    with pytest.raises(Fault, match="larger than"):
        seen.extend(len(piece) for piece in archive.inflate(io.BytesIO(content), entry))
    assert sum(seen) <= 999


def test_honest_twins_are_taken(tmp_path: Path) -> None:
    """The negative control: what the attacks are made from is fine without what was done to it."""
    member = zipfile.ZipInfo("run.sh")
    member.create_system = 3
    member.external_attr = (stat.S_IFREG | 0o755) << 16
    honest = [
        make(("a.py", b"x" * 1000)),
        make(("a.py", b"x"), method=zipfile.ZIP_STORED),
        make(("a/b/c.py", b"x"), ("a/", b""), ("caf\u00e9.txt", b"y"), (member, b"#!/bin/sh\n")),
        make(("a" * 255, b"x"), ("b/" * 63 + "c", b"")),
        make(*[(f"f{number}", b"") for number in range(50)]),
        make(("a.py", b"\0" * 1_000_000)),
        make(),
    ]
    for content in honest[:-1]:
        tree = store(tmp_path, content)
        assert (tmp_path / "code" / tree.digest).is_dir()
    assert everything(tmp_path / "incoming") == []


def test_the_checks_are_what_protects(tmp_path: Path) -> None:
    """The negative control of the names: a plain join, without the checks, would leave the folder."""
    outside = (tmp_path / "a" / "b" / "../../../x").resolve()
    assert not outside.is_relative_to(tmp_path / "a")
    with pytest.raises(Fault, match=r"'\.\.'"):
        store(tmp_path, make(("../../../x", b"x")))


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("bin/run")
    member.create_system = 3
    member.external_attr = (stat.S_IFREG | 0o4777) << 16
    before = os.umask(0o077)
    try:
        tree = store(tmp_path, make((member, b"x"), ("m/n/a.py", b"y")))
    finally:
        os.umask(before)
    root = tmp_path / "code" / tree.digest
    modes = {str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    folders = dict.fromkeys((".", "bin", "m", "m/n"), 493)
    assert modes == {**folders, "bin/run": 0o555, "m/n/a.py": 0o444}


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    first = store(tmp_path, make(("a", b"1"), ("b", b"2")))
    again = store(tmp_path, make(("b", b"2"), ("a", b"1"), ("c/", b""), method=zipfile.ZIP_STORED))
    assert first == again
    others = [make(("a", b"2"), ("b", b"1")), make(("a", b"1")), make(("a", b"1"), ("c", b"2"))]
    assert len({first.digest, *(store(tmp_path, other).digest for other in others)}) == 4


def test_layers_keep_their_compiled_files(tmp_path: Path) -> None:
    content = make(("m.py", b"1"), ("__pycache__/m.cpython-311.pyc", b"2"), (".git/x", b"3"))
    assert store(tmp_path, content).files == 1
    assert (
        Packages(tmp_path, "layers", Bounds(files=9, file_bytes=99, caches=True)).store(io.BytesIO(content)).files
        == 2
    )


def test_an_unprivileged_uid_stores_the_same(tmp_path: Path) -> None:
    """The twin of running as root: the control process never is root."""
    script = (
        "import io, os, sys, pathlib\n"
        "home = pathlib.Path(sys.argv[1]); content = (home / 'in.zip').read_bytes()\n"
        "from wispd.control.packaging import Bounds, Packages\n"
        "os.chdir(home)\n"
        "if os.geteuid() == 0: os.chown(home, 65534, 65534); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(Packages(pathlib.Path('.'), 'code', Bounds(files=9, file_bytes=99))"
        ".store(io.BytesIO(content)).digest)\n"
    )
    content = make(("a/b.py", b"x"))
    with tempfile.TemporaryDirectory() as home:  # the parents of tmp_path are closed to other uids
        (Path(home) / "in.zip").write_bytes(content)
        found = subprocess.run(
            [sys.executable, "-c", script, home], capture_output=True, text=True, check=False, timeout=60
        )
        assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == store(tmp_path, content).digest
