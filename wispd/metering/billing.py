"""From what was used to a bill. Pure.

The free tier belongs to a namespace and a UTC month and is used up in the order of time; what falls into one period
is split among its rows in proportion. Everything is whole units until the end, where the parts of a bill are rounded
so that they add up to its total exactly: over the rows, and within each row (price = free + due).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from wispd.metering.periods import DAY_MINUTES, month_start
from wispd.metering.rating import (
    MIB_MS_PER_GIB_S,
    PriceList,
    Quantities,
    apportion,
    charge,
    micro,
)
from wispd.model.record import USAGE_COLUMNS, usage_row
from wispd.model.usage import BilledUsage, Invoice, PriceView, Used

CALLS: Final = USAGE_COLUMNS.index("calls")
MIB_MS: Final = USAGE_COLUMNS.index("mib_ms")
BYTES_OUT: Final = USAGE_COLUMNS.index("bytes_out")
WARM: Final = USAGE_COLUMNS.index("warm_mib_ms")

Month = tuple[str, int]  # (namespace, first day of the month)
Group = tuple[int, str, str, int]  # (minute or 0, namespace, function, version)
Spent = tuple[int, int]  # (calls, mib_ms) of a month before the bill begins


class _Row:
    """One line of the bill while it is being made: atoms."""

    __slots__ = ("free", "listed", "sums")

    def __init__(self) -> None:
        self.sums = [0] * len(USAGE_COLUMNS)
        self.listed = 0
        self.free = 0


def month_of(one: Used) -> Month:
    """Return the month whose free tier a row draws on."""
    return one.namespace, month_start(one.minute // DAY_MINUTES)


def bill(found: Sequence[Used], before: Mapping[Month, Spent], prices: PriceList, *, stepped: bool) -> Invoice:
    """Return the bill. `before`: what each month had used before it begins; `stepped`: a line per period."""
    lines: dict[Group, _Row] = {}
    free = free_shares(found, before, prices)
    for one, (calls, mib_ms) in zip(found, free, strict=True):
        row = lines.setdefault((one.minute if stepped else 0, one.namespace, one.function, one.version), _Row())
        row.sums = [mine + more for mine, more in zip(row.sums, one.sums, strict=True)]
        row.listed += charge(quantities(one.sums), prices)
        row.free += charge(Quantities(calls=calls, mib_ms=mib_ms), prices)
    keys = sorted(lines)
    rows = [lines[key] for key in keys]
    dues, frees = rounded([row.listed - row.free for row in rows]), rounded([row.free for row in rows])
    items = [
        _billed(key, row.sums, due=due, free=free_micro, stepped=stepped)
        for key, row, due, free_micro in zip(keys, rows, dues, frees, strict=True)
    ]
    sums = [sum(column) for column in zip(*(row.sums for row in rows), strict=True)] or [0] * len(USAGE_COLUMNS)
    total = _billed((0, "", "", 0), sums, due=sum(dues), free=sum(frees), stepped=False)
    return Invoice(items=items, total=total, prices=view(prices))


def free_shares(found: Sequence[Used], before: Mapping[Month, Spent], prices: PriceList) -> list[Spent]:
    """Return how many calls and how much memory-time of each row are free, in the order of `found`."""
    limits = (prices.free_calls, prices.free_gib_s * MIB_MS_PER_GIB_S)
    shares = [[0, 0] for _ in found]
    if not any(limits):
        return [(0, 0)] * len(found)
    periods: dict[tuple[Month, int], list[int]] = {}
    for index, one in enumerate(found):
        periods.setdefault((month_of(one), one.minute), []).append(index)
    running: dict[Month, list[int]] = {}
    for month, minute in sorted(periods):
        rows = periods[month, minute]
        used = running.setdefault(month, list(before.get(month, (0, 0))))
        for which, (column, limit) in enumerate(zip((CALLS, MIB_MS), limits, strict=True)):
            weights = [found[index].sums[column] for index in rows]
            free = min(max(limit - used[which], 0), sum(weights))
            used[which] += sum(weights)
            for index, part in zip(rows, apportion(free, weights), strict=True):
                shares[index][which] = part
    return [(calls, mib_ms) for calls, mib_ms in shares]


def rounded(atoms: Sequence[int]) -> list[int]:
    """Return whole micro-units whose sum is the rounded sum. Each is less than one micro-unit off."""
    return apportion(micro(sum(atoms)), atoms) if any(atoms) else [0] * len(atoms)


def quantities(sums: Sequence[int]) -> Quantities:
    """Return what is priced of a row's sums."""
    return Quantities(calls=sums[CALLS], mib_ms=sums[MIB_MS], warm_mib_ms=sums[WARM], bytes_out=sums[BYTES_OUT])


def view(prices: PriceList) -> PriceView:
    """Return a price list as a bill shows it."""
    return PriceView(
        currency=prices.currency,
        call_pico=prices.call_pico,
        gb_s_pico=prices.gib_s_pico,
        warm_gb_s_pico=prices.warm_gib_s_pico,
        operation_pico=prices.operation_pico,
        stored_gb_month_pico=prices.stored_gib_month_pico,
        egress_gb_pico=prices.egress_gib_pico,
        free_calls=prices.free_calls,
        free_gb_s=prices.free_gib_s,
    )


def _billed(key: Group, sums: Sequence[int], *, due: int, free: int, stepped: bool) -> BilledUsage:
    usage = msgspec.structs.asdict(usage_row(key, sums, stepped=stepped))
    return BilledUsage(
        **usage,
        gb_s=usage["mib_ms"] / MIB_MS_PER_GIB_S,
        warm_gb_s=usage["warm_mib_ms"] / MIB_MS_PER_GIB_S,
        cpu_s=usage["cpu_ms"] / 1e3,
        list_micro=due + free,
        free_micro=free,
        cost_micro=due,
    )
