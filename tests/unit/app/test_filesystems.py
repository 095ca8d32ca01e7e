"""File systems that do not keep what a node promises are named; the others are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from wispd.app.filesystems import concern, filesystem_type

TMPFS = 0x01021994


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (TMPFS, ("tmpfs", "lost when the machine restarts")),
        (0x794C7630, ("overlay", "mount a volume")),
        (0x6969, ("nfs", "use a local disk")),
        (0xFF534D42, ("cifs", "use a local disk")),
        (0xFF534D42 - (1 << 32), ("cifs", "use a local disk")),  # as a signed word
        (0x65735546, ("fuse", "another process")),
    ],
)
def test_a_file_system_that_does_not_keep_is_named(kind: int, words: tuple[str, str]) -> None:
    text = concern(kind, "/data")
    assert "/data" in text
    assert all(word in text for word in words)


@pytest.mark.parametrize("kind", [0xEF53, 0x58465342, 0x9123683E, 0x2FC12FC1, 0])  # ext4, xfs, btrfs, zfs, unknown
def test_negative_control_local_disks_are_not_named(kind: int) -> None:
    assert concern(kind, "/data") == ""


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm here")
def test_the_kernel_says_what_a_folder_is_on() -> None:
    assert filesystem_type(Path("/dev/shm")) == TMPFS
    assert filesystem_type(Path("/proc")) == 0x9FA0
    assert filesystem_type(Path("/nowhere/at/all")) == 0
