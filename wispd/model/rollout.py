"""Rollout: moving an alias from one version to another step by step, for as long as the new one does well."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from wispd.model.alias import Sticky

State = Literal["running", "done", "aborted", "rolled_back"]

STEPS_MAX: Final = 20
EVERY_MIN_S: Final = 1.0
EVERY_MAX_S: Final = 86_400.0


class Plan(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to go. `steps` are percents of the calls, growing, the last one 100; each lasts `every_s`.

    The new version has failed when more than `errors_max` of its calls fail, or when the `latency_quantile` of its
    durations is above `latency_max_s`; 0: not watched. `calls_min`: calls a step needs before the next one begins.
    """

    steps: tuple[int, ...]
    every_s: float
    errors_max: float = -1.0  # share of the calls; -1: not watched
    latency_quantile: float = 0.0
    latency_max_s: float = 0.0
    calls_min: int = 0
    sticky: Sticky | None = None


class Rollout(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rollout and how far it is. `step` is the index of the present one; `reason` says why it ended."""

    namespace: str
    function: str
    base: int  # the version it comes from
    target: int  # the version it goes to
    plan: Plan
    state: State = "running"
    step: int = 0
    reason: str = ""
    started_us: int = 0
    updated_us: int = 0
    started_by: str = ""

    @property
    def percent(self) -> int:
        """The target's part of the calls now."""
        if self.state == "running":
            return self.plan.steps[self.step]
        return 100 if self.state == "done" else 0
