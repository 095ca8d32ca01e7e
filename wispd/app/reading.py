"""Records as the admin API asks for them: the recorder indexes up to now, then the store is read in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from wispd.adapters.store.records_doorbell import SOCKET_NAME, ring
from wispd.adapters.store.records_query import LogFilter, RecordFilter, RecordQueries
from wispd.adapters.store.records_usage import PERIODS, By
from wispd.api.admin_records import Wanted
from wispd.metering import billing
from wispd.metering.periods import DAY_US, day_of, month_start
from wispd.metering.rating import PriceList
from wispd.model.profile import Profile
from wispd.model.record import InvocationRecord, LogPage, Page, RecorderStatus
from wispd.model.statistics import Facts
from wispd.model.usage import Invoice

Answer = TypeVar("Answer")


class RecordReader:
    """Implements `wispd.api.admin_records.Records`."""

    def __init__(self, data_dir: Path, prices: PriceList | None = None) -> None:
        self._prices = prices or PriceList()
        self._doorbell = data_dir / "run" / SOCKET_NAME
        self._queries = RecordQueries(data_dir / "records" / "records.db")
        self._thread = ThreadPoolExecutor(1, "records")

    async def show(self, invocation_id: str, *, namespace: str) -> InvocationRecord:
        return await self._ask(lambda: self._queries.show(invocation_id, namespace=namespace))

    async def page(self, wanted: Wanted, *, limit: int, cursor: str) -> Page:
        chosen = RecordFilter(
            namespace=wanted.namespace, function=wanted.function, status=wanted.status, since_us=wanted.since_us
        )
        return await self._ask(lambda: self._queries.page(chosen, limit=limit, cursor=cursor))

    async def logs(self, wanted: Wanted, *, limit: int, cursor: int | None) -> LogPage:
        chosen = LogFilter(
            namespace=wanted.namespace,
            function=wanted.function,
            invocation_id=wanted.invocation_id,
            since_us=wanted.since_us,
        )
        return await self._ask(lambda: self._queries.logs(chosen, limit=limit, cursor=cursor))

    async def bill(self, namespace: str, *, since_us: int, until_us: int, by: list[str]) -> Invoice:
        """Return what was used and what it costs; `namespace` "": of all of them."""
        groups = cast(list[By], by)  # unknown words are refused by the query
        return await self._ask(lambda: self._bill(namespace, since_us, until_us, by=groups))

    async def profiles(self, key: tuple[str, str], *, step: int, first: int, last: int) -> list[tuple[int, Profile]]:
        """Return (slot, profile) of a function (namespace, name)."""
        return await self._ask(lambda: self._queries.profiles(key, step=step, first=first, last=last))

    async def facts(
        self, key: tuple[str, str], *, since_us: int, first: int, last: int
    ) -> tuple[Facts, list[tuple[int, Profile]]]:
        """Return what the records of a function say, and its minutes."""
        return await self._ask(
            lambda: (
                self._queries.facts(key, since_us=since_us),
                self._queries.profiles(key, step=1, first=first, last=last),
            )
        )

    def _bill(self, namespace: str, since_us: int, until_us: int, *, by: list[By]) -> Invoice:
        queries = self._queries
        found = queries.used(namespace, since_us=since_us, until_us=until_us, by=by)
        before: dict[billing.Month, billing.Spent] = {}
        begun_us = month_start(day_of(since_us)) * DAY_US
        if since_us > begun_us and (self._prices.free_calls or self._prices.free_gib_s):
            for one in queries.used(namespace, since_us=begun_us, until_us=since_us, by=[]):
                month = billing.month_of(one)
                calls, mib_ms = before.get(month, (0, 0))
                before[month] = (calls + one.sums[billing.CALLS], mib_ms + one.sums[billing.MIB_MS])
        made = billing.bill(found, before, self._prices, stepped=any(word in PERIODS for word in by))
        dropped = queries.lost(since_us=since_us, until_us=until_us)
        return msgspec.structs.replace(made, total=msgspec.structs.replace(made.total, dropped=dropped))

    async def recorder(self) -> RecorderStatus | None:
        """Return what the recorder says about itself; None when it does not answer."""
        return await ring(self._doorbell, "status")

    async def close(self) -> None:
        """Wait for the question that is being answered, and let go of the store."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._queries.close)
        self._thread.shutdown()

    async def _ask(self, question: Callable[[], Answer]) -> Answer:
        await ring(self._doorbell)  # a recorder that is away costs freshness, not the answer
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)
