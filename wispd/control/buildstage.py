"""One stage of a build: one instance that runs nothing but it, and what comes out of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Protocol

import httpx
from msgspec import Struct

from wisp.runtime.building.steps import REQUEST
from wispd.base.errors import Fault
from wispd.base.ids import to_text
from wispd.control import buildfaults
from wispd.control.buildstream import Done, Failed, FileHead, Log, Piece, Step, StreamReader
from wispd.control.treewriter import TreeWriter
from wispd.model.build import Index
from wispd.model.function import BUILD_FUNCTION, Network, Version

HANDLER: Final = "wisp.runtime.building:build"
OUTPUT_MAX: Final = 64 * 1024  # of a stage's output, kept to explain a failure by
CPU: Final = 2.0
Tell = Callable[[dict[str, Any]], None]  # one event of a build


class Sandbox(Protocol):
    """Whoever runs builds: the gateway."""

    def build(self, version: Version) -> AsyncIterator[bytes]: ...


class Stage(Struct, frozen=True, kw_only=True):
    """What a stage runs on. `code` and `layer` are stored trees."""

    namespace: str
    runtime: str
    code: str
    request: str
    layer: str = ""
    network: Network = "none"
    network_allow: tuple[str, ...] = ()


class Stages:
    """Runs stages."""

    def __init__(self, sandbox: Sandbox, index: Index, ids: Callable[[], bytes]) -> None:
        self._sandbox = sandbox
        self._index = index
        self._ids = ids

    async def run(self, stage: Stage, writers: Mapping[str, TreeWriter], tell: Tell) -> str:
        """Run a stage; its trees go to `writers`, by name. Returns its output.

        Raises: `Fault("build_failed")`, and what the gateway refuses with (`no_capacity`, `unavailable`).
        """
        running = _Running(writers)
        try:
            async for content in self._sandbox.build(self._version(stage)):
                for event in await asyncio.to_thread(running.take, content):
                    tell(event)
        except httpx.TransportError as error:
            raise self._ended(running, error) from error
        except Fault as fault:
            if fault.blame == "function":
                raise Fault("build_failed", f"the build's sandbox failed: {fault.message}", reason="lost") from fault
            raise
        if running.failed is not None:
            raise buildfaults.explain(running.failed, running.output(), self._index)
        if not running.done:
            raise buildfaults.lost(self._memory_bytes)
        for writer in writers.values():
            writer.end()
        return running.output()

    def _ended(self, running: _Running, error: Exception) -> Fault:
        if running.failed is not None:
            return buildfaults.explain(running.failed, running.output(), self._index)
        return buildfaults.lost(self._memory_bytes)

    @property
    def _memory_bytes(self) -> int:
        return self._index.memory_bytes + self._index.disk_bytes

    def _version(self, stage: Stage) -> Version:
        return Version(
            id=to_text("ver", self._ids()),
            namespace=stage.namespace,
            function=BUILD_FUNCTION,
            number=0,
            code=stage.code,
            layer=stage.layer,
            handler=HANDLER,
            runtime=stage.runtime,
            dialect="native",
            env={REQUEST: stage.request},
            memory_bytes=self._memory_bytes,
            scratch_bytes=self._index.disk_bytes,
            cpu=CPU,
            timeout_s=self._index.timeout_s,
            instances_max=1,
            idle_s=0,
            access="private",
            network=stage.network,
            network_allow=stage.network_allow,
        )


class _Running:
    """What a stage has said so far. `take` blocks: it writes files."""

    def __init__(self, writers: Mapping[str, TreeWriter]) -> None:
        self._writers = writers
        self._reader = StreamReader()
        self._current: TreeWriter | None = None
        self._pieces: deque[bytes] = deque()
        self._kept = 0
        self.failed: Failed | None = None
        self.done = False

    def take(self, content: bytes) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        for record in self._reader.feed(content):
            match record:
                case Piece():
                    self._piece(record.content)
                case FileHead():
                    self._begin(record)
                case Log():
                    self._keep(record.text)
                    events.append({"event": "log", "text": record.text.decode("utf-8", "replace")})
                case Step():
                    events.append({"event": "step", "label": record.label[:500]})
                case Failed():
                    self.failed = record
                case Done():
                    self.done = True
        return events

    def output(self) -> str:
        return b"".join(self._pieces).decode("utf-8", "replace")

    def _begin(self, head: FileHead) -> None:
        self._current = self._writers.get(head.tree)
        if self._current is None:
            raise Fault("build_failed", f"the build's sandbox sent a tree {head.tree[:50]!a}", reason="internal")
        self._current.begin(head.path, executable=head.executable, size=head.size)

    def _piece(self, content: bytes) -> None:
        if self._current is None:
            raise Fault("build_failed", "the build's sandbox sent bytes of no file", reason="internal")
        self._current.write(content)

    def _keep(self, text: bytes) -> None:
        self._pieces.append(text)
        self._kept += len(text)
        while self._kept > OUTPUT_MAX and len(self._pieces) > 1:
            self._kept -= len(self._pieces.popleft())
