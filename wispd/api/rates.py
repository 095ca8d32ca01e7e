"""How many requests a second one token may make, by its namespace's quota. On both listeners, each for itself."""

from __future__ import annotations

from collections.abc import Callable

from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.metering.bucket import Buckets
from wispd.model.published import Token


class TokenRates:
    """Counts requests by token. `requests_per_s` is a namespace's quota; -1: none."""

    def __init__(self, clock: Clock, requests_per_s: Callable[[str], int]) -> None:
        self._clock = clock
        self._requests_per_s = requests_per_s
        self._buckets = Buckets()

    def check(self, token: Token) -> None:
        """Count one request. A token for all namespaces is never refused: somebody must be able to raise a quota.

        Raises: `Fault("quota_exceeded")`.
        """
        if not token.namespace:
            return
        per_s = self._requests_per_s(token.namespace)
        if per_s < 0:
            return
        wait_s = self._buckets.take(token.digest, per_s, self._clock.monotonic_ns())
        if wait_s:
            message = f"this token may make {per_s} requests a second in namespace {token.namespace!r}"
            raise Fault("quota_exceeded", message, retry_after_s=max(wait_s, 1.0), limit=per_s)
