"""A stored tree whose content changes is found, put aside, and can be stored again."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from wispd.base.clock import SystemClock
from wispd.control.packaging import DAMAGED, Bounds, Packages
from wispd.control.scrubbing import Scrubber


def package(text: str) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("main.py", text)
        archive.writestr("pkg/other.py", "x = 1\n")
    return file


def flip(path: Path) -> None:
    """Change one bit, as a disk would: nobody is told."""
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


@pytest.fixture
def store(tmp_path: Path) -> Packages:
    return Packages(tmp_path, "code", Bounds(files=10, file_bytes=1000))


async def test_one_bit_is_enough_and_others_stay(store: Packages) -> None:
    kept, broken = (store.store(package(text)).digest for text in ("a", "b"))
    flip(store.path(broken) / "main.py")
    found: list[str] = []
    await Scrubber([store], SystemClock(), found.append).round()
    assert found == [broken]
    assert store.has(kept)
    assert not store.has(broken)
    assert (store.path(broken).parent / f"{broken}{DAMAGED}").is_dir()


async def test_a_file_too_few_or_too_many_or_a_changed_mode_is_found(store: Packages) -> None:
    for change in ("removed", "added", "executable"):
        digest = store.store(package(change)).digest
        root = store.path(digest)
        if change == "removed":
            (root / "main.py").unlink()
        elif change == "added":
            (root / "more.py").write_text("")
        else:
            (root / "main.py").chmod(0o555)
        assert not store.verify(digest), change


async def test_the_same_content_heals_it(store: Packages, tmp_path: Path) -> None:
    digest = store.store(package("a")).digest
    flip(store.path(digest) / "main.py")
    again = Packages(tmp_path, "code", store.bounds)  # after a restart: nothing is known to be sound
    assert again.store(package("a")).digest == digest
    assert again.verify(digest)
    assert (again.path(digest) / "main.py").read_text() == "a"
    assert [path.name for path in (tmp_path / "code").iterdir()] == [digest]
