"""What runs cost. Pure, integers only.

Money is micro-units of whatever currency the price list is in. Because one call costs less than that, prices are
pico-units, and sums are kept in atoms, a unit so small that every price of the list is a whole number of them: sums
are exact in whatever order they are made, and rounded once, at the end. Billed time is whole milliseconds per
invocation, so the same calls cost the same, however many instances ran them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

MIB_MS_PER_GIB_S: Final = 1024 * 1000
GIB: Final = 1 << 30
MONTH_S: Final = 30 * 86_400  # of a stored GB-month: 30 days, whatever the month
ATOMS_PER_PICO: Final = GIB * MONTH_S
ATOMS_PER_MICRO: Final = ATOMS_PER_PICO * 1_000_000


class PriceList(Struct, frozen=True, kw_only=True):
    """Prices in pico-units (10⁻¹² of the currency). A GB is 2³⁰ bytes.

    The defaults are near the public list prices of the large clouds, an assumption to start from: 0.20 for a million
    calls, 0.0000166667 a GB-second, 0.0000041667 for one of an instance kept ready, 0.40 for a million operations,
    0.023 a stored GB-month, 0.09 a GB sent. Source: AWS price lists of Lambda (x86, first tier), SQS, S3, EC2 egress.
    """

    currency: str = "USD"
    call_pico: int = 200_000
    gib_s_pico: int = 16_666_700
    warm_gib_s_pico: int = 4_166_700
    operation_pico: int = 400_000
    stored_gib_month_pico: int = 23_000_000_000
    egress_gib_pico: int = 90_000_000_000
    free_calls: int = 0  # of a namespace and month
    free_gib_s: int = 0


class Quantities(Struct, frozen=True, kw_only=True):
    """What was used, in whole units."""

    calls: int = 0
    mib_ms: int = 0  # Σ billed ms × memory MiB
    warm_mib_ms: int = 0  # of idle instances that are kept because `min` says so
    bytes_out: int = 0
    operations: int = 0
    stored_byte_s: int = 0


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


def charge(used: Quantities, prices: PriceList) -> int:
    """Return what it costs in atoms, exactly."""
    return (
        used.calls * prices.call_pico * ATOMS_PER_PICO
        + (used.mib_ms * prices.gib_s_pico + used.warm_mib_ms * prices.warm_gib_s_pico)
        * (ATOMS_PER_PICO // MIB_MS_PER_GIB_S)
        + used.operations * prices.operation_pico * ATOMS_PER_PICO
        + used.bytes_out * prices.egress_gib_pico * MONTH_S
        + used.stored_byte_s * prices.stored_gib_month_pico
    )


def micro(atoms: int) -> int:
    """Return whole micro-units, rounded half up."""
    return (2 * atoms + ATOMS_PER_MICRO) // (2 * ATOMS_PER_MICRO)


def rate(calls: int, mib_ms_sum: int, prices: PriceList | None = None) -> Bill:
    """Return the bill for so many calls and so much memory-time; zero for nothing."""
    atoms = charge(Quantities(calls=calls, mib_ms=mib_ms_sum), prices or PriceList())
    return Bill(calls=calls, gib_s=mib_ms_sum / MIB_MS_PER_GIB_S, cost_micro=micro(atoms))


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Cut `total` into whole parts as the weights are; the parts' sum is the total exactly. O(n log n).

    Largest remainder; among equal remainders the first. Without any weight all of it goes to the first part.
    """
    whole = sum(weights)
    if not weights:
        return []
    if not whole:
        return [total] + [0] * (len(weights) - 1)
    parts = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda index: (-(total * weights[index] % whole), index))
    for index in order[: total - sum(parts)]:
        parts[index] += 1
    return parts
