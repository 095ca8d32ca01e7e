"""What was used, in the grain a bill is made from, and the bill itself."""

from __future__ import annotations

from msgspec import Struct

from wispd.model.record import Usage


class Used(Struct, frozen=True):
    """Sums of one namespace and period of at most a day; `sums` in the order of `record.USAGE_COLUMNS`."""

    namespace: str
    minute: int  # Unix minute at which the period begins
    function: str
    version: int
    sums: tuple[int, ...]


class BilledUsage(Usage, frozen=True, kw_only=True):
    """Usage and what it costs."""

    gb_s: float
    warm_gb_s: float
    cpu_s: float
    list_micro: int  # by the price list
    free_micro: int  # of that, what the free tier pays
    cost_micro: int  # the rest: what is due


class PriceView(Struct, frozen=True, kw_only=True):
    """The price list of a bill, in pico-units (10⁻¹²) of the currency; a GB is 2³⁰ bytes."""

    currency: str
    call_pico: int
    gb_s_pico: int
    warm_gb_s_pico: int
    operation_pico: int
    stored_gb_month_pico: int
    egress_gb_pico: int
    free_calls: int
    free_gb_s: int


class Invoice(Struct, frozen=True, kw_only=True):
    """A bill: its rows, their exact sum, and the prices it was made with."""

    items: list[BilledUsage]
    total: BilledUsage
    prices: PriceView
    next: str | None = None
