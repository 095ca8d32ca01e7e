"""Budgets and quotas in the control plane's store. Changes are made through the writer and kept by its commit."""

from __future__ import annotations

from typing import Protocol

from wispd.model.budget import Budget, BudgetRemoved, Quota


class Limits(Protocol):
    """One thread at a time. Raises: `Fault` `storage_full`, `unavailable`."""

    def budgets(self, namespace: str = "") -> list[Budget]:
        """Return the budgets of a namespace, or of all, in the order of function and period."""

    def put_budget(self, budget: Budget) -> None: ...

    def remove_budget(self, removed: BudgetRemoved) -> bool:
        """Remove a budget; False when there is none."""

    def quota(self, namespace: str) -> Quota:
        """Return a namespace's quota; one without limits where none was set."""

    def quotas(self) -> list[Quota]: ...

    def put_quota(self, quota: Quota) -> None: ...

    def deployed(self, namespace: str) -> tuple[int, set[str]]:
        """Return how many functions a namespace has, and the digests of all code its versions need. O(versions)."""
