"""The one writer of the store: changes that wait together are committed and published together.

Order of each group: commit on the disk, journal on the disk, the gateway told, callers answered. A disk flush costs
more than a change, so under load the group is what makes deployments fast; alone, a change waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from wispd.base.errors import Fault
from wispd.control.auditing import current, with_entry
from wispd.control.publisher import Publisher
from wispd.model.published import Entry
from wispd.ports.catalogue import Catalogue

WAITING_MAX: Final = 1024
GROUP_MAX: Final = 128
ANNOUNCE_AGAIN_S: Final = 1.0  # while the gateway does not answer

Result = TypeVar("Result")
Change = Callable[[Catalogue], tuple[Any, Sequence[Entry]]]
Announce = Callable[[int], Awaitable[bool]]


class Writer:
    """Applies changes one after the other in a thread of its own. `announce` tells the gateway; False: it is away."""

    def __init__(self, catalogue: Catalogue, publisher: Publisher, announce: Announce) -> None:
        self._catalogue = catalogue
        self._publisher = publisher
        self._announce = announce
        self._thread = ThreadPoolExecutor(1, "store")
        self._waiting: list[tuple[Change, asyncio.Future[Any]]] = []
        self._wake = asyncio.Event()
        self._announced = -1
        self._stopping = False
        self._stopped = asyncio.Event()

    async def apply(self, change: Callable[[Catalogue], tuple[Result, Sequence[Entry]]]) -> Result:
        """Apply a change; returns when it is on the disk and the gateway was told. The first change
        of a request carries the request's audit entry along: both are written, or none.

        Raises: what the change raised; `Fault` `storage_full`, `unavailable`.
        """
        if self._stopping:
            raise Fault("draining", "the node is stopping", retry_after_s=1)
        if len(self._waiting) >= WAITING_MAX:
            raise Fault("unavailable", f"{WAITING_MAX} changes wait to be stored", retry_after_s=1)
        account = current()
        carried = with_entry(change, account) if account is not None and account.due else change
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((carried, answer))
        self._wake.set()
        result = await answer
        if account is not None:
            account.written = True
        return result

    @property
    def settled(self) -> bool:
        """Does the gateway know everything that was published?"""
        return self._announced == self._publisher.offset and not self._publisher.broken

    async def prepare(self) -> None:
        """Bring the journal to what the store says. Raises: `Fault` `storage_full`, `unavailable`."""
        await self._in_thread(self._publisher.open)

    async def run(self) -> None:
        """Apply changes until `stop`. The gateway may be away: it is told when it is back."""
        try:
            while not (self._stopping and not self._waiting):
                if self._publisher.broken:
                    with contextlib.suppress(Fault):  # a full disk, say: tried again
                        await self._in_thread(self._publisher.compact)
                await self._tell()
                if not self._waiting and not self._stopping:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), self._patience_s())
                self._wake.clear()
                await self._apply_group()
        finally:
            self._thread.shutdown(wait=True)
            self._stopped.set()

    async def stop(self) -> None:
        """Finish what was taken and take no more."""
        self._stopping = True
        self._wake.set()
        await self._stopped.wait()

    async def _apply_group(self) -> None:
        group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
        if not group:
            return
        changes = [change for change, _ in group]
        outcomes = await self._in_thread(lambda: self._commit(changes))
        await self._tell()
        for (_, answer), outcome in zip(group, outcomes, strict=True):
            _settle(answer, outcome)

    async def _in_thread(self, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _commit(self, changes: list[Change]) -> list[Any]:
        """Return an outcome per change: its result, or what it raised. In the store's thread."""
        outcomes: list[Any] = []
        entries: list[Entry] = []
        try:
            for change in changes:
                try:
                    result, published = change(self._catalogue)
                    outcomes.append(result)
                    entries += published
                except Fault as fault:
                    outcomes.append(fault)
            self._catalogue.commit()
            if entries:
                self._publisher.append(entries)
        except Exception as error:  # the callers get it; the writer goes on
            self._catalogue.rollback()
            return [error] * len(changes)
        return outcomes

    async def _tell(self) -> None:
        offset = self._publisher.offset
        if self._publisher.broken:
            return
        if offset != self._announced and await self._announce(offset):
            self._announced = offset

    def _patience_s(self) -> float | None:
        return None if self.settled else ANNOUNCE_AGAIN_S


def _settle(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():  # the caller has gone away
        return
    if isinstance(outcome, BaseException):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
