"""The node's memory budget: what one more instance needs, and whom to end for it. Pure.

The node overcommits: an active instance counts max(32 MB, observed peak × 1.25), an idle one its actual use. Above
the budget, idle instances go first, the longest idle before the others; then there is no capacity.
"""

from __future__ import annotations

from collections.abc import Sequence

from wispd.ports.demand import IdleInstance


def evictions(
    need_bytes: int, *, reserved_bytes: int, budget_bytes: int, idle: Sequence[IdleInstance]
) -> list[int] | None:
    """Return the idle instances to end so that `need_bytes` more fit; None: it does not fit at all."""
    missing = reserved_bytes + need_bytes - budget_bytes
    chosen: list[int] = []
    for one in sorted(idle, key=lambda candidate: candidate.idle_since_ns):
        if missing <= 0:
            break
        chosen.append(one.instance)
        missing -= one.bytes
    return chosen if missing <= 0 else None
