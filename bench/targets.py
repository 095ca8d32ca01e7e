"""The rows of the bench: name → what it measures, in which unit, and the bar it is held against.

A bar of None means: shown for comparison. SPECIFICATION.md names rows of this table as proofs.
"""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """One row. `higher` says whether more is better."""

    what: str
    unit: str
    bar: float | None = None
    higher: bool = False

    def met(self, value: float) -> bool | None:
        """Is the bar met? None where there is none."""
        if self.bar is None:
            return None
        return value >= self.bar if self.higher else value <= self.bar


def _served(prefix: str, what: str, bars: tuple[float | None, float | None, float | None]) -> dict[str, Target]:
    """The three rows of one HTTP server on one core, load generator included."""
    return {
        f"{prefix}.c1.p50": Target(f"{what}, 1 connection, median", "us", bars[0]),
        f"{prefix}.c1.p99": Target(f"{what}, 1 connection, p99", "us", bars[1]),
        f"{prefix}.c32.rate": Target(f"{what}, 32 connections", "req/s", bars[2], higher=True),
    }


def _percentiles(prefix: str, what: str, bars: tuple[float | None, float | None]) -> dict[str, Target]:
    return {
        f"{prefix}.p50": Target(f"{what}, median", "ms", bars[0]),
        f"{prefix}.p99": Target(f"{what}, p99", "ms", bars[1]),
    }


NONE3 = (None, None, None)
TARGETS: dict[str, Target] = {
    **_served("native", "native no-op, one core", (60.0, 150.0, 40_000.0)),
    **_served("app", "typed route of an App file, one core", NONE3),
    **_served("fastapi", "hello FastAPI, one core", NONE3),
    "websocket.echo.rate": Target("WebSocket of a FastAPI app, 1 connection, one core", "echoes/s", higher=True),
    **_percentiles("cold.pool", "cold start from zero, small function, pool hit", (2.0, 10.0)),
    **_percentiles("cold.miss", "cold start from zero, pool miss", (5.0, 20.0)),
    **_percentiles("cold.layer", "cold start from zero, numpy + pandas as the layer", (10.0, 30.0)),
    "cold.rate": Target(
        "cold starts of distinct functions, both cores, pool exhausted", "starts/s", 300.0, higher=True
    ),
    "idle.per_gib": Target("warm idle instances per GiB", "instances", 400.0, higher=True),
    "registered.bytes": Target("memory per registered function at zero instances", "bytes", 4096.0),
    "bulk.rate": Target(
        "100,000 functions deployed through the control API in batches", "deploys/s", 1000.0, higher=True
    ),
    "lookup.us": Target("looking a route up in the gateway's table, 100,000 functions, uncached, median", "us", 5.0),
    "start.100k.s": Target("start after a kill with 100,000 functions, until one answers", "s", 5.0),
    "slope.ratio": Target("warm median, 1 connection: with 100,000 functions to with 1", "x", 1.1),
    "echo.6mb": Target("6 MB echo, median", "ms", 10.0),
    "deploy.folder": Target("deploy of a dependency-free folder inside the node", "ms", 150.0),
    "help.ms": Target("`wisp --help`, median", "ms", 150.0),
    "run.reload": Target("`wisp run`: from a save to the first answer of the new code, median", "ms", 300.0),
    "deploy.cached": Target("deploy of a project whose dependencies were built before, inside the node", "ms", 500.0),
    "rollback": Target(
        "rollback under load: from the request to the old version's first answer, median", "ms", 1000.0
    ),
    "bill.ratio": Target(
        "bill of 100 CPU-bound calls, 16 at once on a full machine, to one after another", "x", 1.05
    ),
    **_served("floor", "floor: bare uvloop + httptools, no hop", NONE3),
    **_served("peer.awslambdaric", "awslambdaric on a minimal runtime API", NONE3),
    **_served("peer.functions-framework", "functions-framework", NONE3),
    **_served("peer.flask-waitress", "Flask on waitress", NONE3),
    **_served("peer.flask-gevent", "Flask on gunicorn/gevent", NONE3),
    **_served("peer.uvicorn", "FastAPI on uvicorn, no platform", NONE3),
    "peer.uvicorn.websocket.rate": Target(
        "WebSocket of FastAPI on uvicorn, 1 connection, one core", "echoes/s", higher=True
    ),
    "peer.awslambdaric.cold": Target("process start to first answer, awslambdaric", "ms"),
    "peer.functions-framework.cold": Target("process start to first answer, functions-framework", "ms"),
    "peer.flask-waitress.cold": Target("process start to first answer, Flask on waitress", "ms"),
    "peer.flask-gevent.cold": Target("process start to first answer, Flask on gunicorn/gevent", "ms"),
    "peer.uvicorn.cold": Target("process start to first answer, FastAPI on uvicorn", "ms"),
}

# Our row → the peers it is compared with. The ratio says how many times better ours is.
PLATFORM_PEERS = ("peer.awslambdaric", "peer.functions-framework", "peer.flask-waitress", "peer.flask-gevent")
COMPARED: dict[str, tuple[str, ...]] = {
    **{
        f"native.{end}": (*(f"{peer}.{end}" for peer in PLATFORM_PEERS), f"floor.{end}")
        for end in ("c1.p50", "c1.p99", "c32.rate")
    },
    **{f"fastapi.{end}": (f"peer.uvicorn.{end}",) for end in ("c1.p50", "c1.p99", "c32.rate")},
    "websocket.echo.rate": ("peer.uvicorn.websocket.rate",),
    "cold.pool.p50": (*(f"{peer}.cold" for peer in PLATFORM_PEERS), "peer.uvicorn.cold"),
}
