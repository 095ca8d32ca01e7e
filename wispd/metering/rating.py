"""What a run costs. Pure, integers only: money is micro-units of whatever currency the price list is in.

Billed time is whole milliseconds per invocation, so the same calls cost the same, however many instances ran them.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

MIB_MS_PER_GIB_S: Final = 1024 * 1000


class PriceList(Struct, frozen=True, kw_only=True):
    """Prices in pico-units (10⁻¹² of the currency), because one call costs less than a micro-unit.

    The defaults are the usual public price of a function service: 0.20 for a million calls, 0.0000166667 for a
    GiB-second. Source: AWS Lambda pricing, x86, first tier.
    """

    call_pico: int = 200_000
    gib_s_pico: int = 16_666_700


class Bill(Struct, frozen=True, kw_only=True):
    """What a period costs."""

    calls: int
    gib_s: float
    cost_micro: int  # rounded half up, once, over the whole sum


def billed_ms(billed_ns: int) -> int:
    """Return whole milliseconds, rounded up; no time at all is 0."""
    return -(-billed_ns // 1_000_000)


def mib_ms(billed_ns: int, memory_bytes: int) -> int:
    """Return one invocation's share: billed ms × memory in MiB, rounded up."""
    return billed_ms(billed_ns) * -(-memory_bytes // 1_048_576)


def rate(calls: int, mib_ms_sum: int, prices: PriceList | None = None) -> Bill:
    """Return the bill for so many calls and so much memory-time; zero for nothing."""
    prices = prices or PriceList()
    # One fraction for both parts, so that nothing is rounded before the sum.
    total = calls * prices.call_pico * MIB_MS_PER_GIB_S + mib_ms_sum * prices.gib_s_pico
    per_micro = MIB_MS_PER_GIB_S * 1_000_000
    return Bill(
        calls=calls, gib_s=mib_ms_sum / MIB_MS_PER_GIB_S, cost_micro=(2 * total + per_micro) // (2 * per_micro)
    )
