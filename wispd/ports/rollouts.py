"""Rollouts in the control plane's store: the latest of each function."""

from __future__ import annotations

from typing import Protocol

from wispd.model.rollout import Rollout


class RolloutReading(Protocol):
    """Questions. Raises: `Fault("unavailable")`."""

    def latest(self, namespace: str, name: str) -> Rollout | None:
        """Return a function's rollout, running or over."""

    def running(self) -> list[Rollout]:
        """Return all that run."""


class Rollouts(RolloutReading, Protocol):
    """Changes, kept by `Catalogue.commit`."""

    def keep(self, rollout: Rollout) -> None:
        """Keep a rollout in place of its function's former one. Raises: `Fault("not_found")`: no such function."""
