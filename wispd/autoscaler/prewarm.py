"""Which kinds of pool members to keep ready. Pure.

A member fits any function of its kind (runtime, layer, network mode), so a few members of the kinds in use make the
first call of every function quick. A kind nobody used for KEPT_S is let go; the usual kind is always kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from wispd.model.function import Network, Version

KEPT_S: Final = 900.0
MEMBERS_SHARE: Final = 4  # a kind in use gets this part of the usual kind's members, at least one
KINDS_MAX: Final = 64  # beyond it, further kinds are forked on demand only


class Kind(NamedTuple):
    """What a pool member is made for. Layers run foreign code, so they are kept apart by namespace."""

    runtime: str
    layer: str
    namespace: str
    network: Network


USUAL: Final = Kind("python3", "", "", "egress")


def kind_of(version: Version) -> Kind:
    """Return the kind that a version's instances are made from."""
    return Kind(version.runtime, version.layer, version.namespace if version.layer else "", version.network)


def members(kind: Kind, usual: int) -> int:
    """Return how many members of a kind in use to keep."""
    return usual if kind == USUAL else max(1, usual // MEMBERS_SHARE) if usual else 0


def unused(used_ns: Mapping[Kind, int], now_ns: int) -> list[Kind]:
    """Return the kinds to let go."""
    return [kind for kind, at in used_ns.items() if kind != USUAL and now_ns - at > KEPT_S * 1e9]
