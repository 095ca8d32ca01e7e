"""What was spent before: added up from the store and from segments that are not yet in it, for the gateway's guard.

Budgets hold across restarts of any process, so a gateway that starts adds up first and serves then; a budget that is
set while it runs is added up in a thread. Neither needs control or the recorder to be there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from wispd.adapters.store.records_history import indexed
from wispd.base.errors import Fault
from wispd.metering.billing import BYTES_OUT, CALLS, MIB_MS, WARM
from wispd.metering.guard import History, Key, Position, SpendGuard
from wispd.metering.periods import DAY_MINUTES
from wispd.metering.rating import Quantities
from wispd.model.record import Batch
from wispd.observe.folding import fold
from wispd.observe.reading import SegmentReader
from wispd.observe.segments import list_segments, segment_name

AGAIN_S: Final = 1.0  # after sums could not be read
START_S: Final = 20.0  # that a start waits for sums; then limited functions answer `unavailable` until they are there
Sums = tuple[int, int, int, int]  # calls, mib_ms, warm_mib_ms, bytes_out


def read_history(folder: Path, *, since_day: int, own_epoch: int) -> History:
    """Add up what is in a records folder. Blocks; O(functions × days + unread segments).

    Files are opened before the store is read: one that is indexed and deleted meanwhile can still be read here, and
    what was indexed before is in the store's sums. Raises: `Fault("unavailable")`, `OSError`.
    """
    with contextlib.ExitStack() as stack:
        readers: list[tuple[tuple[int, int], SegmentReader]] = []
        for key in list_segments(folder):
            with contextlib.suppress(FileNotFoundError, ValueError):
                reader = SegmentReader(folder / segment_name(*key))
                stack.callback(reader.close)
                readers.append((key, reader))
        stored = indexed(folder / "records.db", since_day)
        used = {key: dict(days) for key, days in stored.used.items()}
        reached: Position = (-1, 0)
        for (epoch, number), reader in readers:
            _add(used, reader, behind=stored.positions.get((epoch, number), 0), since_day=since_day)
            if epoch == own_epoch:
                reached = max(reached, (number, reader.offset))
    quantities = {key: {day: _quantities(sums) for day, sums in days.items()} for key, days in used.items()}
    return History(since_day, reached, quantities)


def _add(used: dict[Key, dict[int, Sums]], reader: SegmentReader, *, behind: int, since_day: int) -> None:
    """Add what a segment holds behind an offset."""
    batch = Batch(node_id=b"", epoch=0)
    before = -1
    while reader.offset != before:
        before = reader.offset
        entries = reader.read_behind(behind)
        fold(batch, entries, reader.versions)
    for (minute, namespace, function, _), sums in batch.usage.items():
        day = minute // DAY_MINUTES
        if day >= since_day:
            days = used.setdefault((namespace, function), {})
            more = (sums[CALLS], sums[MIB_MS], sums[WARM], sums[BYTES_OUT])
            have = days.get(day, (0, 0, 0, 0))
            days[day] = (have[0] + more[0], have[1] + more[1], have[2] + more[2], have[3] + more[3])


def _quantities(sums: Sums) -> Quantities:
    return Quantities(calls=sums[0], mib_ms=sums[1], warm_mib_ms=sums[2], bytes_out=sums[3])


class Spending:
    """Keeps a guard's sums known. `write` writes down what is metered and not yet in the segments."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        guard: SpendGuard,
        folder: Path,
        *,
        own_epoch: int,
        write: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._guard = guard
        self._folder = folder
        self._own_epoch = own_epoch
        self._write = write
        self._thread: ThreadPoolExecutor | None = None
        self._reading: asyncio.Future[History] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._known = asyncio.Event()

    async def prepare(self) -> None:
        """Add up before the first call is served; gives up waiting after a while, not trying."""
        self.refresh()
        with contextlib.suppress(TimeoutError):
            if self._guard.wanting:
                await asyncio.wait_for(self._known.wait(), START_S)

    def refresh(self) -> None:
        """Begin to add up, if something is not known and nobody does so already."""
        if self._reading is not None or self._again is not None or not self._guard.wanting:
            return
        self._write()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "spending")
        since_day = self._guard.since_day()
        self._reading = self._loop.run_in_executor(
            self._thread, lambda: read_history(self._folder, since_day=since_day, own_epoch=self._own_epoch)
        )
        self._reading.add_done_callback(self._read)

    def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _read(self, reading: asyncio.Future[History]) -> None:
        self._reading = None
        if reading.cancelled():
            return
        error = reading.exception()
        if error is None:
            self._guard.fill(reading.result())
            self._known.set()
        elif isinstance(error, Fault | OSError):
            self._guard.close()
            self._again = self._loop.call_later(AGAIN_S, self._retry)
        else:
            raise error

    def _retry(self) -> None:
        self._again = None
        self.refresh()
