"""Admission: how many invocations a namespace and a function may have in flight. Pure counters, no waiting.

A function's reserved share is its own: others can't use it, and it can't use more (0 switches the function off).
Source of the model: AWS Lambda's account and reserved concurrency.
"""

from __future__ import annotations

from wispd.base.errors import Fault
from wispd.ports.observer import Quota

RETRY_AFTER_S = 1.0


class FixedQuota:
    """The same limit for every namespace: one gateway owns all counters."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def limit(self, namespace: str) -> int:
        return self._limit


class _Account:
    """Counters of one namespace."""

    __slots__ = ("inflight", "reserved", "reserved_inflight", "unreserved_inflight")

    def __init__(self) -> None:
        self.inflight = 0
        self.unreserved_inflight = 0
        self.reserved: dict[str, int] = {}
        self.reserved_inflight: dict[str, int] = {}


class Admission:
    """Admit or throttle. Each `admit` that returns None is matched by one `release`."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._accounts: dict[str, _Account] = {}
        self.throttled = 0

    @property
    def inflight(self) -> int:
        """Admitted and not yet released, over all namespaces."""
        return sum(account.inflight for account in self._accounts.values())

    def reserve(self, namespace: str, function: str, share: int) -> None:
        """Set a function's reserved share (-1: none)."""
        account = self._account(namespace)
        if share < 0:
            account.reserved.pop(function, None)
        else:
            account.reserved[function] = share

    def admit(self, namespace: str, function: str) -> Fault | None:
        """Count one more invocation in, or return why not."""
        account = self._accounts.get(namespace) or self._account(namespace)
        share = account.reserved.get(function, -1) if account.reserved else -1
        if share >= 0:
            used = account.reserved_inflight.get(function, 0)
            if used >= share:
                return self._throttle(namespace, function, share, "reserved for this function")
            account.reserved_inflight[function] = used + 1
        else:
            free = self._quota.limit(namespace)
            if account.reserved:
                free = max(0, free - sum(account.reserved.values()))
            if account.unreserved_inflight >= free:
                return self._throttle(namespace, function, free, f"of namespace {namespace}")
            account.unreserved_inflight += 1
        account.inflight += 1
        return None

    def release(self, namespace: str, function: str) -> None:
        """Count one invocation out."""
        account = self._accounts[namespace]
        account.inflight -= 1
        used = account.reserved_inflight.get(function, 0) if account.reserved_inflight else 0
        if used:  # admitted under a share, which may have changed since
            account.reserved_inflight[function] = used - 1
        else:
            account.unreserved_inflight -= 1

    def _account(self, namespace: str) -> _Account:
        return self._accounts.setdefault(namespace, _Account())

    def _throttle(self, namespace: str, function: str, limit: int, whose: str) -> Fault:
        self.throttled += 1
        message = f"{limit} concurrent invocations {whose} are in flight, the limit is {limit}"
        if limit == 0:
            message = f"function {function} is switched off: its reserved concurrency is 0"
        return Fault(
            "throttled", message, retry_after_s=RETRY_AFTER_S, namespace=namespace, function=function, limit=limit
        )
