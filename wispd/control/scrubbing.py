"""Looks whether stored trees still are what their digests say: at the start, then twice a day, in small pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from wispd.base.clock import Clock
from wispd.control.packaging import Packages

ROUND_S: Final = 12 * 3600.0
_SHARE: Final = 4  # of the time, one part reads and the rest is quiet
_PAUSE_MIN_S: Final = 0.001


class Scrubber:
    """Verifies all trees, those that were stored last first. `found` hears of each damaged one."""

    def __init__(self, stores: Sequence[Packages], clock: Clock, found: Callable[[str], None]) -> None:
        self._stores = stores
        self._clock = clock
        self._found = found

    async def run(self) -> None:
        """Go round for ever."""
        while True:
            await self.round()
            await asyncio.sleep(ROUND_S)

    async def round(self) -> None:
        """Look at every tree once."""
        for store in self._stores:
            for digest in await asyncio.to_thread(store.all):
                began_ns = self._clock.monotonic_ns()
                if not await asyncio.to_thread(store.verify, digest):
                    self._found(digest)
                spent_s = (self._clock.monotonic_ns() - began_ns) / 1e9
                await asyncio.sleep(max(spent_s * (_SHARE - 1), _PAUSE_MIN_S))
