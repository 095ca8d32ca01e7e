"""Budgets and quotas in ``control.db``."""

from __future__ import annotations

from typing import Any

import msgspec

from wispd.adapters.store.control_session import Session
from wispd.model.budget import Budget, BudgetRemoved, Quota

_budget = msgspec.json.Decoder(Budget).decode
_quota = msgspec.json.Decoder(Quota).decode


class LimitStore:
    """Implements `wispd.ports.limits.Limits`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def budgets(self, namespace: str = "") -> list[Budget]:
        where, values = ("WHERE namespace = ? ", (namespace,)) if namespace else ("", ())
        order = "ORDER BY namespace, function, period"
        rows = self._session.rows(f"SELECT content FROM budgets {where}{order}", *values)  # noqa: S608  (ours)
        return [_budget(row[0]) for row in rows]

    def put_budget(self, budget: Budget) -> None:
        key = (budget.namespace, budget.function, budget.period)
        with self._session.change():
            self._session.execute(
                "INSERT OR REPLACE INTO budgets VALUES (?, ?, ?, ?, ?, ?, ?)", *key, *self._content(budget)
            )

    def remove_budget(self, removed: BudgetRemoved) -> bool:
        key = (removed.namespace, removed.function, removed.period)
        with self._session.change():
            deleted = self._session.execute(
                "DELETE FROM budgets WHERE namespace = ? AND function = ? AND period = ?", *key
            )
        return deleted > 0

    def quota(self, namespace: str) -> Quota:
        rows = self._session.rows("SELECT content FROM quotas WHERE namespace = ?", namespace)
        return _quota(rows[0][0]) if rows else Quota(namespace=namespace)

    def quotas(self) -> list[Quota]:
        return [_quota(row[0]) for row in self._session.rows("SELECT content FROM quotas ORDER BY namespace")]

    def put_quota(self, quota: Quota) -> None:
        with self._session.change():
            self._session.execute(
                "INSERT OR REPLACE INTO quotas VALUES (?, ?, ?, ?, ?)", quota.namespace, *self._content(quota)
            )

    def deployed(self, namespace: str) -> tuple[int, set[str]]:
        counted = self._session.rows(
            "SELECT count(*) FROM functions WHERE namespace = ? AND live IS NOT NULL", namespace
        )
        codes = self._session.rows(
            "SELECT DISTINCT json_extract(CAST(v.content AS TEXT), '$.code') FROM versions v "
            "JOIN functions f ON f.id = v.function WHERE f.namespace = ?",
            namespace,
        )
        return int(counted[0][0]), {str(row[0]) for row in codes}

    def _content(self, limit: Budget | Quota) -> tuple[Any, ...]:
        return (msgspec.json.encode(limit), self._session.now_us(), *self._session.source)
