"""Budgets and quotas: checked, stored, published; and what a deployment may not go beyond."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from wispd.base.errors import Fault
from wispd.control.names import check_name
from wispd.control.packaging import Packages
from wispd.control.units import size_bytes
from wispd.control.writer import Writer
from wispd.model.budget import Budget, BudgetRemoved, Period, Quota, Reaction
from wispd.model.published import Entry
from wispd.ports.catalogue import Catalogue, Reading, Wanted

MICRO_MAX: Final = 10**15
THRESHOLDS_MAX: Final = 10
SIZES_CACHED_MAX: Final = 100_000
NAMESPACE_WIDE: Final = "_namespace"  # no function can have this name


class BudgetWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that sets a budget."""

    limit_micro: int
    at: tuple[int, ...] = (80,)
    then: Reaction = "stop"


class QuotaChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that changes a quota: what is absent stays, null goes back to the default."""

    functions: int | msgspec.UnsetType | None = msgspec.UNSET
    code: str | int | msgspec.UnsetType | None = msgspec.UNSET
    concurrency: int | msgspec.UnsetType | None = msgspec.UNSET
    requests_per_s: int | msgspec.UnsetType | None = msgspec.UNSET
    calls_per_minute: int | msgspec.UnsetType | None = msgspec.UNSET


def budget_of(namespace: str, scope: str, period: str, *, document: object) -> Budget:
    """Return the budget that a request describes. Raises: `Fault("invalid_argument")` naming the wrong key."""
    try:
        wanted = msgspec.convert(document, BudgetWanted)
    except msgspec.ValidationError as error:
        raise Fault("invalid_argument", f"the budget is wrong: {error}") from error
    if not 0 <= wanted.limit_micro <= MICRO_MAX:
        raise Fault("invalid_argument", f"limit_micro is {wanted.limit_micro}, allowed are 0 to {MICRO_MAX}")
    at = tuple(sorted(set(wanted.at)))
    if len(at) > THRESHOLDS_MAX or not all(1 <= share <= 100 for share in at):
        raise Fault("invalid_argument", f"at is {list(wanted.at)[:20]}, want up to {THRESHOLDS_MAX} of 1 to 100 %")
    return Budget(
        namespace=namespace,
        function=function_of(scope),
        period=period_of(period),
        limit_micro=wanted.limit_micro,
        at=at,
        then=wanted.then,
    )


def function_of(scope: str) -> str:
    """Return the function a budget is for, "" for the whole namespace."""
    return "" if scope == NAMESPACE_WIDE else check_name(scope)


def period_of(text: str) -> Period:
    """Return a period. Raises: `Fault("invalid_argument")`."""
    if text not in get_args(Period):
        raise Fault("invalid_argument", f"the period is {text[:40]!r}, want day or month", key="period")
    return text  # type: ignore[return-value]


def changed_quota(before: Quota, document: object) -> Quota:
    """Return a quota with a change applied. Raises: `Fault("invalid_argument")`."""
    try:
        change = msgspec.convert(document, QuotaChange)
    except msgspec.ValidationError as error:
        raise Fault("invalid_argument", f"the quota is wrong: {error}") from error
    given: dict[str, Any] = {
        key: value for key, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET
    }
    if "code" in given:
        code = given.pop("code")
        given["code_bytes"] = None if code is None else size_bytes(code, "code")
    for key, value in given.items():
        if value is not None and not 0 <= value <= MICRO_MAX:
            raise Fault("invalid_argument", f"{key} is {value}, allowed are 0 to {MICRO_MAX}", key=key)
    numbers = {key: -1 if value is None else value for key, value in given.items()}
    return msgspec.structs.replace(before, **numbers)


class LimitDesk:
    """Takes budgets and quotas in, and checks deployments against quotas."""

    def __init__(self, reading: Reading, writer: Writer, code: Packages) -> None:
        self._reading = reading
        self._writer = writer
        self._code = code
        self._sizes: dict[str, int] = {}  # code → bytes; a tree never changes
        self._quotas = {quota.namespace: quota for quota in reading.limits.quotas()}

    def budgets(self, namespace: str) -> list[Budget]:
        return self._reading.limits.budgets(check_name(namespace, "namespace"))

    async def set_budget(self, budget: Budget) -> None:
        """Set a budget. Raises: `Fault("not_found")` for a function that is not there."""
        if budget.function and self._reading.find(budget.namespace, budget.function) is None:
            raise Fault("not_found", f"function {budget.function!r} is not in namespace {budget.namespace!r}")

        def change(catalogue: Catalogue) -> tuple[None, Sequence[Entry]]:
            catalogue.limits.put_budget(budget)
            return None, [budget]

        await self._writer.apply(change)

    async def remove_budget(self, removed: BudgetRemoved) -> None:
        """Remove a budget. Raises: `Fault("not_found")`."""

        def change(catalogue: Catalogue) -> tuple[bool, Sequence[Entry]]:
            there = catalogue.limits.remove_budget(removed)
            return there, [removed] if there else []

        if not await self._writer.apply(change):
            whose = f"function {removed.function!r}" if removed.function else f"namespace {removed.namespace!r}"
            raise Fault("not_found", f"{whose} has no budget for the {removed.period}")

    def quota(self, namespace: str) -> Quota:
        """Return a namespace's quota, from memory."""
        return self._quotas.get(namespace) or Quota(namespace=namespace)

    async def change_quota(self, namespace: str, document: object) -> Quota:
        """Change what is given of a namespace's quota."""

        def change(catalogue: Catalogue) -> tuple[Quota, Sequence[Entry]]:
            quota = changed_quota(catalogue.limits.quota(namespace), document)
            catalogue.limits.put_quota(quota)
            return quota, [quota]

        quota = await self._writer.apply(change)
        self._quotas[namespace] = quota
        return quota

    def requests_per_s(self, namespace: str) -> int:
        """Return how many requests a second one token of a namespace may make; -1: not limited."""
        quota = self._quotas.get(namespace)
        return -1 if quota is None else quota.requests_per_s

    # ── deployments ─────────────────────────────────────────────────────────────────────────────────────────

    def check(self, catalogue: Catalogue, wanted: Wanted) -> None:
        """Refuse a deployment above its namespace's quota. In the writer's thread, ahead of the change.

        Raises: `Fault("quota_exceeded")`.
        """
        version = wanted.version
        quota = self._quotas.get(version.namespace)
        if quota is None or (quota.functions < 0 and quota.code_bytes < 0):
            return
        functions, codes = catalogue.limits.deployed(version.namespace)
        there = catalogue.find(version.namespace, version.function) is not None
        if 0 <= quota.functions < functions + (not there):
            what = f"namespace {version.namespace!r} has {functions} functions, its quota is {quota.functions}"
            raise _beyond(f"{what}; delete one, or let the quota be raised", functions, quota.functions)
        if quota.code_bytes >= 0 and version.code not in codes:
            used = sum(map(self.code_bytes, codes))
            more = self.code_bytes(version.code)
            if used + more > quota.code_bytes:
                what = f"the code is {more} bytes; namespace {version.namespace!r} stores {used} bytes"
                raise _beyond(f"{what}, its quota is {quota.code_bytes}", used + more, quota.code_bytes)

    def used(self, namespace: str) -> tuple[int, int]:
        """Return how many functions a namespace has, and the bytes of its code. May read directories: blocks."""
        functions, codes = self._reading.limits.deployed(namespace)
        return functions, sum(map(self.code_bytes, codes))

    def code_bytes(self, digest: str) -> int:
        """Return the size of a tree; 0 for one that is gone."""
        found = self._sizes.get(digest)
        if found is None:
            found = _tree_bytes(str(self._code.path(digest)))
            if len(self._sizes) < SIZES_CACHED_MAX:
                self._sizes[digest] = found
        return found


def _beyond(message: str, value: int, limit: int) -> Fault:
    fault = Fault("quota_exceeded", message, value=value, limit=limit)
    fault.http_status = 403  # waiting does not help, unlike with a rate
    return fault


def _tree_bytes(path: str) -> int:
    try:
        with os.scandir(path) as entries:
            return sum(
                _tree_bytes(entry.path) if entry.is_dir(follow_symlinks=False) else entry.stat().st_size
                for entry in entries
            )
    except OSError:
        return 0
