"""The admin API's routes for how functions perform: statistics, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Protocol

import msgspec
from fastapi import APIRouter, Request
from msgspec import Meta
from starlette.responses import Response

from wispd.api.admin_body import json_answer
from wispd.api.admin_records import Moment, moment_us
from wispd.api.permitting import needs
from wispd.api.querying import query_of
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.control.units import duration_s
from wispd.metering.statistics import STEPS_MAX
from wispd.model.statistics import Explanation, Statistics

STEP_MIN_S: Final = 60
MINUTES_KEPT_S: Final = 7 * 86_400
Known = Callable[[str, str], Any]  # (namespace, name) → the function; raises `Fault("not_found")`


class StatisticsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """From when on, and how long a step is: whole minutes; whole hours where it goes back beyond 7 days."""

    since: Moment = "24h"
    step: Annotated[str, Meta(max_length=20)] = "1h"


class WhyQuery(msgspec.Struct, frozen=True, kw_only=True):
    """From when on."""

    since: Moment = "1h"


class Performance(Protocol):
    """Questions about one function. Raises: `Fault`."""

    async def statistics(
        self, namespace: str, name: str, *, first_s: int, last_s: int, step_s: int
    ) -> Statistics: ...

    async def why(self, function: Any, *, since: str, since_us: int, now_us: int) -> Explanation: ...


def statistics_routes(performance: Performance, clock: Clock, known: Known) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}/functions/{name}")

    @router.get("/stats", **needs("records.read", query=StatisticsQuery, returns=Statistics))
    async def statistics(request: Request, namespace: str, name: str) -> Response:
        """Show calls, errors, times, memory and cost of a function, step by step and in total."""
        query = query_of(request, StatisticsQuery)
        known(namespace, name)
        now_us = clock.unix_ns() // 1000
        first_s, last_s, step_s = steps(query, now_us)
        found = await performance.statistics(namespace, name, first_s=first_s, last_s=last_s, step_s=step_s)
        return json_answer(found)

    @router.get("/why", **needs("records.read", query=WhyQuery, returns=Explanation))
    async def why(request: Request, namespace: str, name: str) -> Response:
        """Say why a function is cold, slow, refused or failing."""
        query = query_of(request, WhyQuery)
        now_us = clock.unix_ns() // 1000
        since_us = moment_us(query.since, "since", now_us)
        if not 0 < since_us < now_us:
            raise Fault("invalid_argument", f"since is {query.since!r}, want 1h (ago) or a time that is past")
        function = known(namespace, name)
        return json_answer(await performance.why(function, since=query.since, since_us=since_us, now_us=now_us))

    return router


def steps(query: StatisticsQuery, now_us: int) -> tuple[int, int, int]:
    """Return the first and the last Unix second of whole steps, and a step's length.

    Raises: `Fault("invalid_argument")` for a step that profiles don't have, or for more than `STEPS_MAX` of them.
    """
    step = duration_s(query.step, "step")
    step_s = int(step)
    if step_s != step or step_s < STEP_MIN_S or step_s % STEP_MIN_S:
        raise Fault("invalid_argument", f"step is {query.step!r}, want whole minutes such as 5m or 1h", key="step")
    since_s = moment_us(query.since, "since", now_us) // 1_000_000
    now_s = now_us // 1_000_000
    if not 0 < since_s <= now_s:
        raise Fault(
            "invalid_argument", f"since is {query.since!r}, want 24h (ago) or a time that is past", key="since"
        )
    if step_s % 3600 and now_s - since_s > MINUTES_KEPT_S:
        raise Fault(
            "invalid_argument", "minutes are kept for 7 days; for longer, want a step of whole hours", key="step"
        )
    first_s = since_s - since_s % step_s
    last_s = now_s - now_s % step_s + step_s
    count = (last_s - first_s) // step_s
    if count > STEPS_MAX:
        raise Fault("invalid_argument", f"that is {count} steps, limit {STEPS_MAX}; want a longer step", key="step")
    return first_s, last_s, step_s
