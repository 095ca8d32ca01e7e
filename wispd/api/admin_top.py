"""The admin API's route for the gateway's counters as they are now: two looks make rates."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import APIRouter
from msgspec import Struct
from starlette.responses import Response

from wispd.api.admin_body import json_answer
from wispd.api.permitting import needs
from wispd.base.clock import Clock
from wispd.control.dataplane import DataPlane
from wispd.model.invocation import Status
from wispd.observe.metrics import BUCKETS, SUM, Series, Snapshot

_NONE: Final = {"ready": 0, "busy": 0, "starting": 0}


class FunctionCounters(Struct, frozen=True, kw_only=True):
    """One function's counters since the gateway started, and its instances now.

    `elapsed`: calls by duration; the n-th bucket ends at 50 µs × 2ⁿ, the last has all that took longer.
    """

    namespace: str
    name: str
    calls: int
    errors: int
    elapsed: list[int]
    instances: dict[str, int]
    waiting: int
    memory_bytes: int


class NodeNow(Struct, frozen=True, kw_only=True):
    """The node as it is now."""

    inflight: int
    functions: int
    instances: dict[str, int]
    memory_reserved_bytes: int
    memory_budget_bytes: int


class Counters(Struct, frozen=True, kw_only=True):
    """One look. `time_ns` is monotonic, to tell two looks apart."""

    time_ns: int
    node: NodeNow
    functions: list[FunctionCounters]


def top_routes(gateway: DataPlane, clock: Clock) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    @router.get("/v1/counters", **needs("node.read", returns=Counters))
    async def counters() -> Response:
        """Show the counters of all functions that were called since the gateway started, and their instances."""
        snapshot = msgspec.json.decode(await gateway.metrics(), type=Snapshot)
        return json_answer(counted(snapshot, await gateway.status(), clock.monotonic_ns()))

    return router


def counted(snapshot: Snapshot, told: dict[str, Any], time_ns: int) -> Counters:
    """Join counters and pools."""
    pools = {(one["namespace"], one["name"]): one for one in told["functions"]}
    series = {(one.namespace, one.function): one for one in snapshot.series}
    rows = [_function(key, series.get(key), pools.get(key, {})) for key in sorted(series.keys() | pools.keys())]
    gauges = snapshot.gauges
    node = NodeNow(
        inflight=told["inflight"],
        functions=told["functions_published"],
        instances=dict(_NONE) | gauges.instances,
        memory_reserved_bytes=gauges.memory_reserved_bytes,
        memory_budget_bytes=gauges.memory_budget_bytes,
    )
    return Counters(time_ns=time_ns, node=node, functions=rows)


def _function(key: tuple[str, str], series: Series | None, pool: dict[str, Any]) -> FunctionCounters:
    statuses = series.statuses if series else []
    elapsed = series.elapsed if series else []
    longer = sum(elapsed[BUCKETS:SUM])
    return FunctionCounters(
        namespace=key[0],
        name=key[1],
        calls=sum(statuses),
        errors=sum(statuses) - (statuses[Status.OK] if statuses else 0),
        elapsed=[*elapsed[:BUCKETS], longer],
        instances=pool.get("instances", dict(_NONE)),
        waiting=pool.get("waiting", 0),
        memory_bytes=pool.get("used_bytes", 0),
    )
