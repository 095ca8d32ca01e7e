"""Which file systems keep what a node promises to keep: a pure decision, and a thin look at the kernel's answer.

Source: statfs(2), linux/magic.h.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

_STATFS_BYTES: Final = 256  # struct statfs is 120 on 64-bit Linux; its first word is the type
_MEMORY: Final = "is in memory: everything is lost when the machine restarts"
_LAYER: Final = "is the container's own layer: everything is lost with the container; mount a volume there"
_REMOTE: Final = "is on a network: SQLite's log and its locks are not safe there; use a local disk"
_OTHERS: Final = "is served by another process or machine: whether it keeps what is flushed is up to that one"

# f_type → what it is called, what is wrong with it
_KINDS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        0x01021994: ("tmpfs", _MEMORY),
        0x858458F6: ("ramfs", _MEMORY),
        0x794C7630: ("overlay", _LAYER),
        0x61756673: ("aufs", _LAYER),
        0x6969: ("nfs", _REMOTE),
        0x517B: ("smb", _REMOTE),
        0xFF534D42: ("cifs", _REMOTE),
        0xFE534D42: ("smb2", _REMOTE),
        0x5346414F: ("afs", _REMOTE),
        0x00C36400: ("ceph", _REMOTE),
        0x0BD00BD0: ("lustre", _REMOTE),
        0x01021997: ("9p", _OTHERS),
        0x65735546: ("fuse", _OTHERS),
    }
)


def concern(kind: int, data_dir: str) -> str:
    """Return what is wrong with keeping a node on a file system of this type; "": nothing that is known."""
    name, why = _KINDS.get(kind & 0xFFFFFFFF, ("", ""))
    return f"the data directory {data_dir} ({name}) {why}" if name else ""


def filesystem_type(path: Path) -> int:
    """Return `f_type` of the file system that a path is on; 0 when it can't be asked."""
    if sys.platform != "linux":
        return 0
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None).statfs(bytes(path), answer):
        return 0
    return int.from_bytes(answer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)
