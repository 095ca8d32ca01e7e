"""What was counted of one version since the gateway started."""

from __future__ import annotations

from msgspec import Struct


class VersionCounts(Struct, frozen=True, kw_only=True):
    """Calls that ended; `failed` by error, time, memory, loss or an answer of 500 and above.

    `buckets` count durations; their upper bounds are `wispd.observe.metrics.BUCKET_NS` × 2ⁿ.
    """

    number: int
    calls: int
    failed: int
    buckets: list[int]
