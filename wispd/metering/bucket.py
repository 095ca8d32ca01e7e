"""Token buckets: so many a second, with as many at once. Pure arithmetic on monotonic nanoseconds."""

from __future__ import annotations

from typing import Final

HOLDERS_MAX: Final = (
    10_000  # beyond it those who were quiet longest are forgotten; a full bucket is what they get back
)
_NS: Final = 1_000_000_000


class Buckets:
    """One bucket for each holder. What a holder has is kept as the moment at which its bucket is full again."""

    def __init__(self) -> None:
        self._full_ns: dict[str, int] = {}

    def take(self, holder: str, per_s: int, now_ns: int) -> float:
        """Take one; return 0.0, or the seconds after which there is one again. Source: GCRA, ITU-T I.371."""
        if per_s <= 0:
            return 1.0
        step = _NS // per_s
        full_ns = max(self._full_ns.pop(holder, 0), now_ns)
        wait_ns = full_ns + step - now_ns - max(_NS, step)
        if wait_ns > 0:
            self._full_ns[holder] = full_ns
            return wait_ns / _NS
        if len(self._full_ns) >= HOLDERS_MAX:
            del self._full_ns[next(iter(self._full_ns))]
        self._full_ns[holder] = full_ns + step
        return 0.0
