"""The one writer of the store: changes that wait together are committed and published together.

Order of each group: commit on the disk, journal on the disk, the gateway told, callers answered. A disk flush costs
more than a change, so under load the group is what makes deployments fast; alone, a change waits for nobody.

A commit or a journal write that the disk failed is not acknowledged and not tried again: from then on the writer
takes no changes, and says why. A full disk refuses the changes that found it full, and no others.
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
from wispd.control.storing import Step, lasting, refusal
from wispd.model.published import Entry
from wispd.ports.catalogue import Catalogue, StorageFailed

WAITING_MAX: Final = 1024
GROUP_MAX: Final = 128
ANNOUNCE_AGAIN_S: Final = 1.0  # while the gateway does not answer

Result = TypeVar("Result")
Change = Callable[[Catalogue], tuple[Any, Sequence[Entry]]]
Announce = Callable[[int], Awaitable[bool]]


class Writer:
    """Applies changes one after the other in a thread of its own. `announce` tells the gateway; False: it is away.

    `report` hears once why no changes are taken any more.
    """

    def __init__(
        self, catalogue: Catalogue, publisher: Publisher, announce: Announce, *, report: Callable[[str], None]
    ) -> None:
        self._catalogue = catalogue
        self._publisher = publisher
        self._announce = announce
        self._report = report
        self._failure = ""  # why no changes are taken any more
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
        if self._failure:
            raise refusal(self._failure)
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

    @property
    def failure(self) -> str:
        """Why no changes are taken any more; "": they are."""
        return self._failure

    @property
    def journal(self) -> Publisher:
        return self._publisher

    async def prepare(self) -> None:
        """Bring the journal to what the store says. Raises: `Fault` `storage_full`, `unavailable`."""
        await self._in_thread(self._publisher.open)

    async def run(self) -> None:
        """Apply changes until `stop`. The gateway may be away: it is told when it is back."""
        try:
            while not (self._stopping and not self._waiting):
                if self._publisher.broken and not self._failure:
                    await self._in_thread(self._mend)
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
        if self._failure:
            return [refusal(self._failure)] * len(changes)
        step: Step = "change"
        outcomes: list[Any] = []
        entries: list[Entry] = []
        try:
            for change in changes:
                self._change(change, outcomes, entries)
            step = "commit"
            self._catalogue.commit()
            step = "journal"
            if entries:
                self._publisher.append(entries)
        except Exception as error:  # the callers get it; the writer goes on
            told = self._judged(error, step)
            with contextlib.suppress(Exception):  # what could not be undone is not committed either
                self._catalogue.rollback()
            return [told] * len(changes)
        return outcomes

    def _change(self, change: Change, outcomes: list[Any], entries: list[Entry]) -> None:
        try:
            result, published = change(self._catalogue)
        except StorageFailed:
            raise
        except Fault as fault:
            outcomes.append(fault)
        else:
            outcomes.append(result)
            entries += published

    def _mend(self) -> None:
        """Write the journal anew after the disk was full. In the store's thread."""
        try:
            self._publisher.compact()
        except Exception as error:
            self._judged(error, "journal")

    def _judged(self, error: Exception, step: Step) -> Exception:
        """Return what the callers are told; take no changes any more when the failure lasts."""
        if not lasting(error, step):
            return error
        self._failure = error.message if isinstance(error, Fault) else f"{type(error).__name__}: {error}"
        self._report(str(refusal(self._failure)))
        return refusal(self._failure)

    async def _tell(self) -> None:
        offset = self._publisher.offset
        if self._publisher.broken:
            return
        if offset != self._announced and await self._announce(offset):
            self._announced = offset

    def _patience_s(self) -> float | None:
        return None if self.settled or self._failure else ANNOUNCE_AGAIN_S


def _settle(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():  # the caller has gone away
        return
    if isinstance(outcome, BaseException):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
