"""Money as people write and read it; inside it is whole micro-units."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

import click

AMOUNT_MAX: Final = Decimal(10**9)


def money(micro: int, currency: str = "") -> str:
    """Return an amount: two decimals, or as many as it takes to see it."""
    whole, rest = divmod(abs(micro), 1_000_000)
    digits = f"{rest:06d}"
    shown = digits[:2] if digits.endswith("0000") else digits
    return f"{'-' if micro < 0 else ''}{whole}.{shown}" + (f" {currency}" if currency else "")


def parsed_micro(text: str) -> int:
    """Return micro-units of an amount such as `5` or `0.25`. Raises: `click.BadParameter`."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise click.BadParameter(f"{text[:40]!r} is no amount; want 5 or 0.25") from None
    possible = amount.is_finite() and 0 <= amount <= AMOUNT_MAX
    micro = amount * 1_000_000 if possible else Decimal(0)
    if not possible or micro != micro.to_integral_value():
        raise click.BadParameter(f"{text[:40]} is not from 0 to {AMOUNT_MAX} with at most six decimals")
    return int(micro)


def parsed_shares(text: str) -> list[int]:
    """Return the per cents of `50%,80%`. Raises: `click.BadParameter`."""
    parts = [part.strip().removesuffix("%") for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part[:4]) <= 100 for part in parts):
        raise click.BadParameter(f"{text[:40]!r} is not per cents from 1 to 100, such as 50%,80%")
    return [int(part) for part in parts]
