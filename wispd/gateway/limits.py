"""Budgets and quotas as they are published. Mutated only between requests, by the journal's reader."""

from __future__ import annotations

from wispd.model.budget import Budget, BudgetRemoved, Quota

Limit = Budget | BudgetRemoved | Quota


class PublishedLimits:
    """What is in force. `generation` grows with every change."""

    def __init__(self, concurrency: int = 1000) -> None:
        self.concurrency = concurrency  # of a namespace that has no quota of its own
        self.budgets: dict[tuple[str, str, str], Budget] = {}  # by namespace, function, period
        self.quotas: dict[str, Quota] = {}
        self.generation = 0

    def apply(self, entry: Limit) -> None:
        """Take in one entry of the journal."""
        if isinstance(entry, Budget):
            self.budgets[entry.namespace, entry.function, entry.period] = entry
        elif isinstance(entry, BudgetRemoved):
            self.budgets.pop((entry.namespace, entry.function, entry.period), None)
        else:
            self.quotas[entry.namespace] = entry
        self.generation += 1

    def replace(self, other: PublishedLimits) -> None:
        """Become `other`, whole."""
        self.budgets, self.quotas = other.budgets, other.quotas
        self.generation += 1

    # ── what the path asks ──────────────────────────────────────────────────────────────────────────────────

    def limit(self, namespace: str) -> int:
        """Return how many invocations of a namespace may be in flight (`wispd.ports.observer.Quota`)."""
        quota = self.quotas.get(namespace) if self.quotas else None
        return self.concurrency if quota is None or quota.concurrency < 0 else quota.concurrency

    def requests_per_s(self, namespace: str) -> int:
        """Return how many requests a second one token of a namespace may make; -1: not limited."""
        quota = self.quotas.get(namespace) if self.quotas else None
        return -1 if quota is None else quota.requests_per_s
