"""Which idle instances to end. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from wispd.ports.demand import Demand, IdleInstance


def expired(idle: Sequence[IdleInstance], demand: Demand, *, idle_ns: int, retired: bool, now_ns: int) -> list[int]:
    """Return the instances to end: idle for `idle_ns`, the longest idle first, down to the minimum.

    A retired version keeps none.
    """
    if retired:
        return [one.instance for one in idle]
    removable = max(0, demand.ready - demand.minimum)
    late = [one.instance for one in idle if now_ns - one.idle_since_ns >= idle_ns]
    return late[:removable]
