"""Which refusals get an audit entry of their own. Whoever floods the door must not fill the disk.

Changes are always written. Refused and failed requests have a bucket per token: so many at once, then so many a
minute; those in between are counted, and the next entry says how many they were.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NOBODY_BURST: Final = 1  # without a valid token
NOBODY_PER_MINUTE: Final = 1.0
TOKEN_BURST: Final = 100
TOKEN_PER_MINUTE: Final = 60.0
KEYS_MAX: Final = 1024
_NS: Final = 60_000_000_000  # of a minute


class _Bucket(NamedTuple):
    left: float
    seen_ns: int
    unsaid: int


class Sampler:
    """Decides; pure but for what it remembers of earlier decisions."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def admit(self, token_id: str, outcome: str, now_ns: int) -> int | None:
        """Return how many went unsaid before this one, which is to be written; None: it is only counted."""
        burst, per_minute = (TOKEN_BURST, TOKEN_PER_MINUTE) if token_id else (NOBODY_BURST, NOBODY_PER_MINUTE)
        key = (token_id, outcome)
        known = self._buckets.pop(key, _Bucket(burst, now_ns, 0))
        left = min(burst, known.left + (now_ns - known.seen_ns) / _NS * per_minute)
        written = left >= 1
        self._buckets[key] = _Bucket(left - written, now_ns, 0 if written else known.unsaid + 1)
        if len(self._buckets) > KEYS_MAX:
            self._buckets.pop(next(iter(self._buckets)))
        return known.unsaid if written else None
