"""How much log text one source may write: a token bucket over bytes. Pure, asks no time."""

from __future__ import annotations

from typing import Final

RATE_BYTES_PER_S: Final = 1_048_576
BURST_BYTES: Final = 4_194_304


def lines_in(text: bytes) -> int:
    """Count lines; an unfinished last one counts."""
    return text.count(b"\n") + (not text.endswith(b"\n") and bool(text))


class Allowance:
    """One source's bucket. Text that does not fit is dropped whole and its lines counted."""

    __slots__ = ("_tokens", "dropped", "seen_ns")

    def __init__(self, now_ns: int) -> None:
        self._tokens = float(BURST_BYTES)
        self.seen_ns = now_ns
        self.dropped = 0  # lines since the last text that passed

    def take(self, size: int, *, now_ns: int) -> bool:
        """May `size` bytes pass now?"""
        elapsed_s = max(now_ns - self.seen_ns, 0) / 1e9
        self._tokens = min(BURST_BYTES, self._tokens + elapsed_s * RATE_BYTES_PER_S)
        self.seen_ns = max(now_ns, self.seen_ns)
        if size > self._tokens:
            return False
        self._tokens -= size
        return True

    def mark(self) -> bytes:
        """Return the line that stands where lines were dropped, and start counting anew."""
        dropped, self.dropped = self.dropped, 0
        return f"… {dropped} lines dropped\n".encode() if dropped else b""


class Allowances:
    """The buckets of all instances, at most `limit` of them."""

    def __init__(self, limit: int = 4096) -> None:
        self._buckets: dict[int | str, Allowance] = {}
        self._limit = limit

    def admit(self, source: int | str, text: bytes, *, now_ns: int) -> tuple[bytes, int]:
        """Return the text to record (with a mark ahead of it where lines are missing) and the lines dropped now."""
        bucket = self._buckets.get(source)
        if bucket is None:
            if len(self._buckets) >= self._limit:
                self._forget(now_ns)
            bucket = self._buckets[source] = Allowance(now_ns)
        if bucket.take(len(text), now_ns=now_ns):
            return bucket.mark() + text, 0
        lines = lines_in(text)
        bucket.dropped += lines
        return b"", lines

    def _forget(self, now_ns: int) -> None:
        """Forget buckets that are full again; all of them if that is none (an attack forgets its own debt once)."""
        full_ns = now_ns - BURST_BYTES * 1_000_000_000 // RATE_BYTES_PER_S
        kept = {source: bucket for source, bucket in self._buckets.items() if bucket.seen_ns > full_ns}
        self._buckets = kept if len(kept) < self._limit else {}
