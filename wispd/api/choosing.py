"""Chooses, for each request to a divided alias, the version that answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from wispd.api.invocations import Passage
from wispd.gateway.splitting import Split, by_chance, by_value
from wispd.gateway.stickiness import issued, value_of

_VALUE_BITS: Final = 64


class Chosen(NamedTuple):
    """What a request goes to. `lines` are header lines that its answer gets besides."""

    passage: Passage
    streams: bool
    lines: bytes = b""


class Draw:
    """One alias as a certain head sees it. `path` is where an issued cookie holds."""

    def __init__(
        self,
        split: Split,
        ways: Sequence[Chosen],
        headers: Sequence[tuple[bytes, bytes]],
        *,
        path: str,
        bits: Callable[[int], int],
    ) -> None:
        self._split = split
        self.ways = ways
        self._path = path
        self._bits = bits
        self.fixed: Chosen | None = None
        value = value_of(split.sticky, headers) if split.sticky is not None else None
        if split.single:
            self.fixed = ways[0]
        elif value is not None:
            self.fixed = ways[by_value(split.shares, value, salt=split.salt)]

    def next(self) -> Chosen:
        """Return what the next request goes to."""
        if self.fixed is not None:
            return self.fixed
        drawn = self._bits(_VALUE_BITS)
        split, sticky = self._split, self._split.sticky
        if sticky is None or not sticky.issue:
            return self.ways[by_chance(split.shares, (drawn >> 11) / 2.0**53)]
        value = f"{drawn:016x}"
        way = self.ways[by_value(split.shares, value.encode(), salt=split.salt)]
        return way._replace(lines=issued(sticky, value, path=self._path))
