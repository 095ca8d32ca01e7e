"""Sizes and durations as people write them."""

from __future__ import annotations

import re
from typing import Final

from wispd.base.errors import Fault

_SIZES: Final = {"": 1, "b": 1, "kb": 1024, "kib": 1024, "mb": 1024**2, "mib": 1024**2, "gb": 1024**3, "gib": 1024**3}
_DURATIONS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_QUANTITY: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s?([a-z]{0,3})", re.ASCII)


def size_bytes(value: object, key: str) -> int:
    """Return bytes of `256MB`, `1.5 GiB` or a number of bytes (a MB is 1024² bytes)."""
    return int(_quantity(value, key, _SIZES, "a size such as 256MB, or bytes"))


def duration_s(value: object, key: str) -> float:
    """Return seconds of `30s`, `500ms`, `5m`, `1h` or a number of seconds."""
    return _quantity(value, key, _DURATIONS, "a duration such as 30s or 500ms, or seconds")


def _quantity(value: object, key: str, units: dict[str, float] | dict[str, int], wanted: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15:
        return float(value)
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value.strip().lower())
        if match and match[2] in units:
            return float(match[1]) * units[match[2]]
    raise Fault("invalid_argument", f"{key} is {str(value)[:80]!r}, it must be {wanted}", key=key)
