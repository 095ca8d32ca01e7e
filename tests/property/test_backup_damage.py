"""A backup with any bit flipped, cut anywhere, or with anything behind it, is refused and leaves nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "backup"))
from made import backup_of, make_node

from wispd.app.restoring import restore
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    folder = tmp_path_factory.mktemp("damage")
    make_node(folder / "node")
    (folder / "out").mkdir()
    return backup_of(folder / "node"), folder / "out"


def is_refused(content: bytes, folder: Path) -> None:
    file = folder.parent / "backup.tar"
    file.write_bytes(content)
    with pytest.raises(Fault, match="refused"):
        restore(file, folder / "data", passphrase="", clock=VirtualClock())
    assert not list(folder.iterdir())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_flipped_bit_anywhere_is_noticed(place: tuple[bytes, Path], data: st.DataObject) -> None:
    content, folder = place
    position = data.draw(st.integers(0, len(content) * 8 - 1))
    broken = bytearray(content)
    broken[position // 8] ^= 1 << position % 8
    is_refused(bytes(broken), folder)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_cut_anywhere_and_anything_behind_the_end_is_noticed(
    place: tuple[bytes, Path], data: st.DataObject
) -> None:
    content, folder = place
    is_refused(content[: data.draw(st.integers(0, len(content) - 1))], folder)
    is_refused(content + data.draw(st.binary(min_size=1, max_size=64)), folder)


def test_negative_control_undamaged_it_is_restored(place: tuple[bytes, Path]) -> None:
    content, folder = place
    file = folder.parent / "backup.tar"
    file.write_bytes(content)
    assert restore(file, folder.parent / "whole", passphrase="", clock=VirtualClock()).functions == 1
