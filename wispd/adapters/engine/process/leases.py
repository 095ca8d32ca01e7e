"""Uids for instances: a range nobody else on the host uses, one uid each, reused as late as possible."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from dataclasses import dataclass
from typing import Final

# systemd's "UIDs, GIDs and subordinate ranges" table leaves 1879048192..2147483647 to nobody.
SPACE_FIRST: Final = 1_879_048_192
SPACE_END: Final = 2_147_483_648
RANGE_SIZE: Final = 16_384
LAYER_UIDS: Final = 64  # the last ones of a range, for layer sandboxes


@dataclass(frozen=True, slots=True)
class UidRange:
    """`first` is the service uid, instances follow, layer sandboxes are at the end."""

    first: int
    size: int = RANGE_SIZE


def default_range(directory: str, *, etc: str = "/etc") -> UidRange:
    """Compute the range of a data directory: from its path's hash, the next free one when somebody owns part of it.

    Raises: `OSError` (ENOSPC is never reached in practice) when no range is free.
    """
    taken = taken_ranges(etc)
    slots = (SPACE_END - SPACE_FIRST) // RANGE_SIZE
    start = int.from_bytes(hashlib.sha256(os.path.realpath(directory).encode()).digest()[:8], "big") % slots
    for step in range(slots):
        first = SPACE_FIRST + (start + step) % slots * RANGE_SIZE
        if not any(low < first + RANGE_SIZE and first < high for low, high in taken):
            return UidRange(first)
    raise OSError(f"every uid range between {SPACE_FIRST} and {SPACE_END} is taken by users or subordinate ranges")


def taken_ranges(etc: str = "/etc") -> list[tuple[int, int]]:
    """(first, end) of all uids and gids of users, groups and subordinate ranges."""
    found = []
    for name, column in (("passwd", 2), ("passwd", 3), ("group", 2)):
        for fields in _rows(f"{etc}/{name}"):
            if len(fields) > column and fields[column].isdigit():
                found.append((int(fields[column]), int(fields[column]) + 1))
    for name in ("subuid", "subgid"):
        for fields in _rows(f"{etc}/{name}"):
            if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
                found.append((int(fields[1]), int(fields[1]) + int(fields[2])))
    return found


def _rows(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.strip().split(":") for line in file]
    except OSError:
        return []


class Leases:
    """Free uids, first in, first out. With an empty range every lease is `shared` (0: the own uid)."""

    def __init__(self, first: int, count: int, *, shared: int = 0) -> None:
        self._free = deque(range(first, first + count))
        self._single = count == 0
        self._shared = shared

    def take(self) -> int | None:
        """Lease a uid; None when all are in use."""
        if self._single:
            return self._shared
        return self._free.popleft() if self._free else None

    def give_back(self, uid: int) -> None:
        """Return a uid whose processes are all gone."""
        if not self._single:
            self._free.append(uid)
