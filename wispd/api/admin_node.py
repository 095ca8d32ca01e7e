"""The admin API's routes for the node itself: status, metrics, health."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import APIRouter
from msgspec import Struct
from starlette.responses import Response

from wispd.api.admin_body import json_answer
from wispd.api.permitting import TEXT, needs
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.control.dataplane import DataPlane
from wispd.control.storing import refusal
from wispd.control.writer import Writer
from wispd.model.record import RecorderStatus
from wispd.observe import exposition
from wispd.observe.metrics import Snapshot
from wispd.ports.catalogue import Reading

_UP = (True, "up", "ok", "ready", "available", "connected")
AskRecorder = Callable[[], Awaitable[RecorderStatus | None]]


class Node(Struct, frozen=True, kw_only=True):
    """What this process knows of the node without asking anybody. `started_ns` is monotonic."""

    node_id: str
    version: str
    data_dir: str
    started_ns: int


class NodeStatus(Struct, frozen=True, kw_only=True):
    """What the node is and how its parts are."""

    node_id: str
    version: str
    data_dir: str
    uptime_s: float
    functions: int
    gateway: dict[str, Any]
    recorder: dict[str, Any]
    journal: dict[str, Any]
    store: dict[str, Any]


class Health(Struct, frozen=True, kw_only=True):
    status: str


class Readiness(Struct, frozen=True, kw_only=True):
    """Can the node do its work? If not (HTTP 503), why."""

    status: str
    reasons: list[str]


class NodeView:
    """Asks everybody, and says who does not answer."""

    def __init__(
        self, node: Node, gateway: DataPlane, *, reading: Reading, writer: Writer,
        recorder: AskRecorder, clock: Clock,
    ) -> None:  # fmt: skip
        self._node = node
        self._gateway = gateway
        self._reading = reading
        self._writer = writer
        self._journal = writer.journal
        self._recorder = recorder
        self._clock = clock

    async def status(self) -> dict[str, Any]:
        """Return the whole status document."""
        try:
            gateway: dict[str, Any] = {"reachable": True} | await self._gateway.status()
        except Fault as fault:
            gateway = {"reachable": False, "error": fault.message}
        recorder = await self._recorder()
        return {
            "node_id": self._node.node_id,
            "version": self._node.version,
            "data_dir": self._node.data_dir,
            "uptime_s": round((self._clock.monotonic_ns() - self._node.started_ns) / 1e9, 3),
            "functions": self._reading.count(),
            "gateway": gateway,
            "recorder": msgspec.to_builtins(recorder) if recorder else {"state": "unreachable"},
            "journal": {"offset": self._journal.offset, "lines": self._journal.lines},
            "store": {"state": "read_only" if self._writer.failure else "ok", "message": self._writer.failure},
        }

    async def metrics(self) -> bytes:
        """Return the text for Prometheus; a gateway that is away is a sample of it."""
        recorder = await self._recorder()
        try:
            raw = await self._gateway.metrics()
        except Fault:
            return exposition.render(None, recorder) + self._own()
        if not raw.startswith(b"{"):  # it rendered its counters itself
            return raw + self._own()
        return exposition.render(msgspec.json.decode(raw, type=Snapshot), recorder) + self._own()

    async def unready(self) -> list[str]:
        """Return why this node can't do its work; empty: it can."""
        reasons = [str(refusal(self._writer.failure))] if self._writer.failure else []
        try:
            launcher = (await self._gateway.status()).get("launcher")
            if (launcher.get("available") if isinstance(launcher, dict) else launcher) not in _UP:
                reasons.append("the launcher is not available: no instance can start")
        except Fault as fault:
            reasons.append(fault.message)
        recorder = await self._recorder()
        if recorder is None:
            reasons.append("the recorder does not answer")
        elif recorder.state != "ok":
            reasons.append(f"records can't be written: {recorder.message or recorder.state}")
        return reasons

    def _own(self) -> bytes:
        lines = []
        for name, text, value in (
            ("wisp_functions", "Functions that are deployed", self._reading.count()),
            ("wisp_journal_lines", "Lines of the publication journal", self._journal.lines),
            ("wisp_journal_broken", "Does the journal have to be written anew?", int(self._journal.broken)),
            (
                "wisp_store_read_only",
                "Did the disk fail, so that no changes are taken?",
                int(bool(self._writer.failure)),
            ),
        ):
            lines.append(f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value}\n")
        return "".join(lines).encode()


def node_routes(view: NodeView) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/v1/status", **needs("node.read", returns=NodeStatus))
    async def status() -> Response:
        """Show the node, its processes and its instances."""
        return json_answer(await view.status())

    @router.get("/metrics", **needs("node.read", returns=TEXT))
    async def metrics() -> Response:
        """Return the node's metrics for Prometheus."""
        return Response(await view.metrics(), media_type=exposition.CONTENT_TYPE)

    @router.get("/healthz", **needs("open", returns=Health))
    async def healthz() -> Response:
        """Say that the control process lives."""
        return json_answer({"status": "ok"})

    @router.get("/readyz", **needs("open", returns=Readiness))
    async def readyz() -> Response:
        """Say whether the node can do its work, and why not."""
        reasons = await view.unready()
        return json_answer({"status": "unready" if reasons else "ok", "reasons": reasons}, 503 if reasons else 200)

    return router
