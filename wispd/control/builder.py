"""Builds: from a stored code tree to a layer of its dependencies, and to code that its own steps have changed.

What was built of the same input is not built again. Who may use it: a layer of wheels alone, each checked against its
hash, belongs to every namespace; what foreign code had a hand in belongs to the namespace that built it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from wispd.base.errors import Fault
from wispd.control.buildledger import Ledger
from wispd.control.buildmaking import Making
from wispd.control.buildorder import Order
from wispd.control.buildstage import Tell
from wispd.control.lockfile import layer_key, read_lock
from wispd.control.packaging import Packages
from wispd.model.build import SHARED, Build, BuildRequest, Index

WAITING_MAX: Final = 64  # builds that wait for their turn
LOG_MAX: Final = 4 << 20


class Builder:
    """All builds of a node."""

    def __init__(self, making: Making, ledger: Ledger, *, stores: tuple[Packages, Packages], index: Index) -> None:
        self._index = index
        self._making = making
        self._code, self._layers = stores
        self.ledger = ledger
        self._slots = asyncio.Semaphore(index.at_once)
        self._waiting = 0
        self._same: dict[tuple[str, bytes], asyncio.Lock] = {}

    async def build(self, namespace: str, request: BuildRequest, tell: Tell) -> Build:
        """Build, or find what was built before.

        Raises: `Fault` `not_found` (no such code), `invalid_argument` (the dependency file), `throttled`,
        `build_failed`, `storage_full`, `unavailable`.
        """
        if not self.ledger.owns(namespace, request.code) or not self._code.has(request.code):
            raise Fault("not_found", f"code {request.code} is not here: upload the package first", key="code")
        order = await asyncio.to_thread(Order, namespace, request, self._code.path(request.code), self._index)
        if not request.refresh and (found := self._known(order)) is not None:
            return found
        lock = self._same.setdefault((namespace, order.whole_key), asyncio.Lock())
        async with self._turn(), lock:
            try:
                if not request.refresh and (found := self._known(order)) is not None:
                    return found
                return await self._recorded(order, tell)
            finally:
                self._same.pop((namespace, order.whole_key), None)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= WAITING_MAX:
            raise Fault("throttled", f"{WAITING_MAX} builds wait for their turn", retry_after_s=10)
        self._waiting += 1
        try:
            async with self._slots:
                yield
        finally:
            self._waiting -= 1

    def _known(self, order: Order) -> Build | None:
        """Return what all of this made before, if it is still here."""
        layer, code, build_id = "", order.request.code, ""
        if order.source is not None:
            made = self.ledger.made(order.namespace, order.source_key)
            if made is None or (made[0] and not self._layers.has(made[0])):
                return None
            layer, build_id = made
        if order.request.run:
            made = self.ledger.made(order.namespace, order.run_key(layer))
            if made is None or not self._code.has(made[0]):
                return None
            code, build_id = made
        return self.ledger.found(order.namespace, build_id, layer=layer, code=code)

    async def _recorded(self, order: Order, tell: Tell) -> Build:
        build = await self.ledger.begin(
            order.namespace, source=order.source.path if order.source else "", code=order.request.code
        )
        log = _Log(tell)
        log.tell({"event": "build", "id": build.id})
        try:
            build = await self._stage_by_stage(order, build, log.tell)
        except Fault as fault:
            fault.facts |= {"build": build.id}
            failed = msgspec.structs.replace(build, status="failed", message=fault.message)
            await self.ledger.end(failed, log.content(fault.message))
            raise
        except BaseException:  # whoever asked has left, or the node ends
            with contextlib.suppress(Fault):
                left = msgspec.structs.replace(build, status="failed", message="cancelled")
                await asyncio.shield(self.ledger.end(left, log.content("cancelled")))
            raise
        return await self.ledger.end(build, log.content(""))

    async def _stage_by_stage(self, order: Order, build: Build, tell: Tell) -> Build:
        layer = ""
        names: tuple[str, ...] = ()
        if order.source is not None:
            layer, names = await self._layer(order, build.id, tell)
            await self.ledger.remember(
                order.namespace, order.source_key, digest=layer, build_id=build.id, kind="layer"
            )
        code = order.request.code
        if order.request.run:
            code = await self._making.run(order, layer, tell)
            await self.ledger.remember(
                order.namespace, order.run_key(layer), digest=code, build_id=build.id, kind="code"
            )
        return msgspec.structs.replace(build, status="done", layer=layer, code=code, packages=names)

    # ── the layer ───────────────────────────────────────────────────────────────────────────────────────────

    async def _layer(self, order: Order, build_id: str, tell: Tell) -> tuple[str, tuple[str, ...]]:
        """Return the layer's digest, "" for one without packages, and what is in it."""
        assert order.source is not None
        links = await self._making.links()
        folder = order.source.path.rpartition("/")[0]
        lock = await self._making.lock(order, order.source, links, tell)
        artifacts = await asyncio.to_thread(read_lock, lock, order.target, folder=folder)
        names = tuple(f"{one.name}=={one.version}" if one.version else one.name for one in artifacts)
        if not artifacts:
            return "", ()
        shared = all(one.kind == "wheel" for one in artifacts)
        scope = SHARED if shared else order.namespace
        key = layer_key(artifacts, order.target)
        if any(one.kind == "local" for one in artifacts):
            key = hashlib.sha256(key + order.request.code.encode()).digest()
        made = self.ledger.made(scope, key)
        if made is not None and self._layers.has(made[0]) and not (order.request.refresh and not shared):
            return made[0], names
        layer = await self._making.install(order, artifacts, links, tell)
        await self.ledger.remember(scope, key, digest=layer, build_id=build_id, kind="layer")
        return layer, names


class _Log:
    """Passes events on and keeps what is text of them."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._text = bytearray()

    def tell(self, event: dict[str, Any]) -> None:
        if event["event"] == "step":
            self._text += f"== {event['label']}\n".encode()
        elif event["event"] == "log" and len(self._text) < LOG_MAX:
            self._text += str(event["text"]).encode("utf-8", "replace")
        self._tell(event)

    def content(self, message: str) -> bytes:
        return bytes(self._text) + (f"\n{message}\n".encode() if message else b"")
