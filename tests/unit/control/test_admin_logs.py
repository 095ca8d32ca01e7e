"""Log text over the admin API: whole, in pages, or as it comes; and a follower ends with the process."""

from __future__ import annotations

import asyncio
import json

import httpx
from control_harness import DIGEST, TOKEN

from wispd.api.admin import admin_application
from wispd.api.admin_records import LINES_MAX, Wanted, record_routes
from wispd.base.clock import VirtualClock
from wispd.control.auditing import Auditor
from wispd.model.published import Token
from wispd.model.record import InvocationRecord, LogLine, LogPage, Page
from wispd.model.usage import Invoice

LOGS = "/v1/namespaces/default/logs"


class Fixed:
    """Records of which only the log text is asked; `stop_after` ends the process when so many questions came."""

    def __init__(self, lines: int, stopping: asyncio.Event, stop_after: int = 0) -> None:
        self.lines = lines
        self.asked: list[tuple[Wanted, int | None]] = []
        self._stopping = stopping
        self._stop_after = stop_after

    async def logs(self, wanted: Wanted, *, limit: int, cursor: int | None) -> LogPage:
        self.asked.append((wanted, cursor))
        if self._stop_after and len(self.asked) >= self._stop_after:
            self.lines += 1
            self._stopping.set()
        numbers = range((cursor or 0) + 1, self.lines + 1)[:limit]
        items = tuple(line(number) for number in numbers)
        return LogPage(items=items, next=items[-1].cursor if items else cursor or 0)

    async def show(self, invocation_id: str, *, namespace: str) -> InvocationRecord:
        raise NotImplementedError

    async def page(self, wanted: Wanted, *, limit: int, cursor: str) -> Page:
        raise NotImplementedError

    async def bill(self, namespace: str, *, since_us: int, until_us: int, by: list[str]) -> Invoice:
        raise NotImplementedError


async def nothing_to_write(_change: object) -> None:
    raise AssertionError("reading is not audited")


def line(number: int) -> LogLine:
    return LogLine(cursor=number, time="t", function="f", version=1, instance=1, invocation_id="", text=f"{number}\n")


def asked(lines: int, query: str, stop_after: int = 0) -> tuple[list[int], Fixed]:
    """Return the cursors that a query answers, and who was asked."""

    async def scenario() -> tuple[list[int], Fixed]:
        stopping, clock = asyncio.Event(), VirtualClock()
        records = Fixed(lines, stopping, stop_after)
        routes = record_routes(records, clock, stopping)
        known = {DIGEST: Token(digest=DIGEST, role="admin")}
        auditor = Auditor(nothing_to_write, clock.unix_ns)
        app = admin_application([routes], find=known.get, auditor=auditor, exists=bool, clock=clock, loopback=True)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers
        ) as client:
            answer = await client.get(LOGS + query)
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(text)["cursor"] for text in answer.text.splitlines()], records

    return asyncio.run(scenario())


def test_without_a_beginning_one_page_is_enough() -> None:
    cursors, records = asked(1200, "?limit=500&function=f")
    assert (len(cursors), len(records.asked)) == (500, 1)
    assert records.asked[0][0].function == "f"


def test_from_a_beginning_all_pages_come_up_to_a_bound() -> None:
    assert asked(1200, "?limit=500&since=1h")[0] == list(range(1, 1201))
    assert len(asked(50_000, "?limit=1000&since=1h")[0]) == LINES_MAX


def test_a_follower_gets_everything_once_and_ends_with_the_process() -> None:
    cursors, records = asked(1500, "?follow=true", stop_after=4)
    assert cursors == list(range(1, len(cursors) + 1))
    assert len(cursors) >= 1500
    assert len(records.asked) == 4
