"""Which version of an alias answers a call. Pure.

By chance: a point in [0, 1) falls into the part of one version. By value: weighted rendezvous hashing, so that equal
values get the same version as long as the weights stay, and a version whose weight grows loses nobody: every value it
had, it keeps. Source: Thaler & Ravishankar 1998; weights by -ln(u)/w, as in Schindelhauer & Schomaker 2005.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from wispd.model.alias import Share, Sticky
from wispd.model.function import Published, Version

_RANGE: Final = 2.0**64
VALUE_MAX: Final = 1024  # bytes of a value that count


class Split(NamedTuple):
    """An alias taken apart: as many versions as shares, in their order."""

    versions: tuple[Version, ...]
    shares: tuple[Share, ...]
    sticky: Sticky | None
    salt: bytes

    @property
    def single(self) -> bool:
        """Is there nothing to choose?"""
        return len(self.versions) == 1


def split(function: Published, alias: str) -> Split | None:
    """Return what an alias of a function divides its calls among; None when there is no such alias."""
    pointer = function.pointer(alias)
    if pointer is None:
        return None
    known = [(share, function.version(share.number)) for share in pointer.shares]
    found = [(share, version) for share, version in known if version is not None]
    if not found:
        return None
    salt = f"{function.namespace}/{function.name}".lower().encode()[:64]
    versions = tuple(version for _, version in found)
    return Split(versions, tuple(share for share, _ in found), pointer.sticky, salt)


def by_chance(shares: Sequence[Share], point: float) -> int:
    """Return the index of the share that a point in [0, 1) falls into."""
    rest = point * sum(share.weight for share in shares)
    for index, share in enumerate(shares):
        rest -= share.weight
        if rest < 0:
            return index
    return len(shares) - 1


def by_value(shares: Sequence[Share], value: bytes, *, salt: bytes = b"") -> int:
    """Return the index of the share that a value belongs to."""
    best, chosen = math.inf, 0
    for index, share in enumerate(shares):
        number = share.number.to_bytes(8, "little")
        digest = blake2b(value[:VALUE_MAX], digest_size=8, key=salt, salt=number).digest()
        score = -math.log((int.from_bytes(digest, "little") + 1) / _RANGE) / share.weight
        if score < best:
            best, chosen = score, index
    return chosen
