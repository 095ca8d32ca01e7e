"""How many instances of the next version to start before calls go to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wispd.ports.demand import Demand

WARM_MAX: Final = 16  # instances started ahead; more would take the machine from those who serve


def needed(serving: Iterable[Demand], *, minimum: int, maximum: int) -> int:
    """Return how many instances the next version needs at once, from the demand of those that serve now.

    As many as are busy or waited for, at least one where any is up, so that no caller waits for an initialisation.
    """
    demands = list(serving)
    up = sum(demand.ready + demand.starting for demand in demands)
    if not up:
        return min(minimum, WARM_MAX)
    wanted = max(1, minimum, sum(demand.busy + demand.waiting for demand in demands))
    return min(wanted, maximum, WARM_MAX)
