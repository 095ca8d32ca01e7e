"""The document that begins a rollout, checked."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from wispd.base.errors import Fault
from wispd.control import fields
from wispd.control.pointing import NUMBER_MAX, sticky_of
from wispd.control.units import duration_s
from wispd.model.rollout import EVERY_MAX_S, EVERY_MIN_S, STEPS_MAX, Plan

STEPS: Final = (5, 25, 50, 100)
EVERY_S: Final = 60.0
ERRORS_MAX: Final = 0.02
KEYS: Final = ["version", "steps", "every", "max_errors", "max_latency", "min_calls", "sticky"]


def plan_of(document: object) -> tuple[int, Plan]:
    """Return the version to go to, and how.

    Raises: `Fault("invalid_argument")` naming the key.
    """
    given = fields.refuse_unknown_of(document, KEYS)
    if "version" not in given:
        raise Fault("invalid_argument", "version is missing: the number to go to", key="version")
    quantile, latency_s = _latency(given)
    plan = Plan(
        steps=_steps(given.get("steps")),
        every_s=fields.within(duration_s(given.get("every", EVERY_S), "every"), "every", EVERY_MIN_S, EVERY_MAX_S),
        errors_max=_errors(given),
        latency_quantile=quantile,
        latency_max_s=latency_s,
        calls_min=fields.whole(given, "min_calls", 0, low=0, high=1_000_000_000),
        sticky=sticky_of(given.get("sticky")),
    )
    return fields.whole(given, "version", 0, low=1, high=NUMBER_MAX), plan


def _steps(given: object) -> tuple[int, ...]:
    if given is None:
        return STEPS
    steps = list(given) if isinstance(given, list) else []
    good = 0 < len(steps) <= STEPS_MAX and all(type(one) is int and 0 < one <= 100 for one in steps)
    if not good or not all(low < high for low, high in pairwise(steps)):
        wanted = "steps must be growing percents from 1 to 100 such as [5, 25, 50, 100]"
        raise Fault("invalid_argument", wanted, key="steps")
    return tuple(steps if steps[-1] == 100 else [*steps, 100])


def _errors(given: dict[str, Any]) -> float:
    """Return a share of `"2%"` or 0.02; -1 for null: not watched."""
    if "max_errors" not in given:
        return ERRORS_MAX
    value = given["max_errors"]
    if value is None:
        return -1.0
    if isinstance(value, str) and value.endswith("%"):
        try:
            value = float(value[:-1]) / 100
        except ValueError:
            value = str(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Fault("invalid_argument", f'max_errors is {str(value)[:40]!r}, want "2%" or 0.02', key="max_errors")
    return float(value)


def _latency(given: dict[str, Any]) -> tuple[float, float]:
    """Return quantile and seconds of `{"p95": "300ms"}` or `"p95=300ms"`; zeros: not watched."""
    value = given.get("max_latency")
    if value is None:
        return 0.0, 0.0
    if isinstance(value, str):
        name, _, text = value.partition("=")
    elif isinstance(value, dict) and len(value) == 1:
        name, text = next(iter(value.items()))
    else:
        name, text = "", ""
    digits = str(name)[1:]
    if not str(name).startswith("p") or not digits.isascii() or not digits.isdigit() or not 0 < len(digits) <= 3:
        raise Fault("invalid_argument", 'max_latency must be such as "p95=300ms"', key="max_latency")
    share = int(digits) / 10 ** max(2, len(digits))
    if not 0 < share < 1:
        raise Fault("invalid_argument", 'max_latency must be such as "p95=300ms"', key="max_latency")
    return share, fields.within(duration_s(text, "max_latency"), "max_latency", 0.0001, 86_400)
