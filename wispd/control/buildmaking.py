"""The stages of one build, each with its input made ready and its output stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wispd.base.errors import Fault
from wispd.control import buildplan
from wispd.control.buildinputs import Input, Inputs
from wispd.control.buildorder import Order
from wispd.control.buildstage import Stage, Stages, Tell
from wispd.control.fetched import Fetched
from wispd.control.lockfile import LOCK_BYTES_MAX
from wispd.control.packaging import Bounds, Packages
from wispd.control.treewriter import TreeWriter
from wispd.model.build import Artifact, Index, Source
from wispd.ports.fetching import Fetching

_LOCK_BOUNDS: Final = Bounds(files=1, file_bytes=LOCK_BYTES_MAX)
Links = dict[str, Input]


class Making:
    """Runs stages. `stores`: code and layers."""

    def __init__(
        self,
        index: Index,
        stores: tuple[Packages, Packages],
        *,
        inputs: Inputs,
        fetched: Fetched,
        fetcher: Fetching,
        stages: Stages,
    ) -> None:
        self._index = index
        self._code, self._layers = stores
        self._inputs = inputs
        self._fetched = fetched
        self._fetcher = fetcher
        self._stages = stages

    async def links(self) -> Links:
        """Return the package files of the operator's folders. Raises: `Fault("unavailable")`."""
        return await asyncio.to_thread(self._inputs.links, self._index.find_links)

    async def lock(self, order: Order, source: Source, links: Links, tell: Tell) -> bytes:
        """Return the text of the lock; nothing foreign runs for it unless it has to."""
        if source.kind == "pylock":
            return order.files[source.path]
        code = await asyncio.to_thread(self._inputs.tree, order.request.code, "project")
        files = code | links | self._certificates() | {"uv": await asyncio.to_thread(self._inputs.uv)}
        offline = self._index.offline or source.kind == "uv_lock"
        if not source.local:
            try:
                return await self._resolve(order, source, files, foreign=False, offline=offline, tell=tell)
            except Fault as fault:
                if fault.facts.get("reason") not in ("no_wheel", "exit", "no_version") or not _needs_source(fault):
                    raise
            tell({"event": "log", "text": "some packages have no wheel: they are built from source\n"})
        return await self._resolve(order, source, files, foreign=True, offline=offline, tell=tell)

    async def _resolve(
        self, order: Order, source: Source, files: dict[str, Input], *, foreign: bool, offline: bool, tell: Tell
    ) -> bytes:
        request = buildplan.resolve(source, self._index, foreign=foreign, held=files)
        writer = TreeWriter(self._code.temporary(), _LOCK_BOUNDS, what="lock")
        try:
            await self._in_sandbox(order, files, request, {"lock": writer}, online=not offline, tell=tell)
            return await asyncio.to_thread((writer.directory / buildplan.LOCK).read_bytes)
        finally:
            await asyncio.to_thread(writer.close)

    async def install(self, order: Order, artifacts: Sequence[Artifact], links: Links, tell: Tell) -> str:
        wanted = [one for one in artifacts if one.url]
        tell({"event": "step", "label": f"Fetching {len(wanted)} packages"})
        fetched = await self._fetched.all(
            wanted, lambda size, total: tell({"event": "fetch", "bytes": size, "total_bytes": total})
        )
        found = {f"files/{name}": file for name, file in fetched.items()}
        for one in artifacts:
            if one.kind != "local" and not one.url:
                found[f"files/{one.filename}"] = _linked(one, links)
        foreign = any(one.kind != "wheel" for one in artifacts)
        files = found | self._certificates() | {"uv": await asyncio.to_thread(self._inputs.uv)}
        if foreign:
            files |= links
        if any(one.kind == "local" for one in artifacts):
            files |= await asyncio.to_thread(self._inputs.tree, order.request.code, "project")
        request = buildplan.install(artifacts, self._index, held=files)
        writer = TreeWriter(self._layers.temporary(), self._layers.bounds, what="layer")
        try:
            online = foreign and not self._index.offline
            await self._in_sandbox(order, files, request, {"layer": writer}, online=online, tell=tell)
            await asyncio.to_thread(self._fetched.evict)
            return await asyncio.to_thread(self._layers.keep, writer.directory, writer.files)
        finally:
            await asyncio.to_thread(writer.close)

    async def _in_sandbox(
        self,
        order: Order,
        files: dict[str, Input],
        request: str,
        writers: dict[str, TreeWriter],
        *,
        online: bool,
        tell: Tell,
    ) -> None:
        code = await asyncio.to_thread(self._inputs.make, files)
        try:
            stage = Stage(
                namespace=order.namespace,
                runtime=order.request.runtime,
                code=code,
                request=request,
                network="egress" if online else "none",
                network_allow=await self._fetcher.opened() if online else (),
            )
            await self._stages.run(stage, writers, tell)
        finally:
            await asyncio.to_thread(self._inputs.discard, code)

    def _certificates(self) -> dict[str, Input]:
        if not self._index.ca_file:
            return {}
        try:
            return {buildplan.CERTIFICATES: self._inputs.copied(Path(self._index.ca_file))}
        except OSError as error:
            text = f"[build] ca_file {self._index.ca_file} can't be read: {error.strerror}"
            raise Fault("unavailable", text) from error

    # ── the user's own steps ────────────────────────────────────────────────────────────────────────────────

    async def run(self, order: Order, layer: str, tell: Tell) -> str:
        """Return the digest of the code that the steps left."""
        request = buildplan.run(order.request.run, layer=bool(layer))
        writer = TreeWriter(self._code.temporary(), self._code.bounds, what="code")
        try:
            offline = self._index.offline
            stage = Stage(
                namespace=order.namespace,
                runtime=order.request.runtime,
                code=order.request.code,
                layer=layer,
                request=request,
                network="none" if offline else "egress",
                network_allow=() if offline else await self._fetcher.opened(),
            )
            await self._stages.run(stage, {"code": writer}, tell)
            return await asyncio.to_thread(self._code.keep, writer.directory, writer.files)
        finally:
            await asyncio.to_thread(writer.close)


def _linked(artifact: Artifact, links: Links) -> Input:
    found = links.get(f"links/{artifact.filename}")
    if found is None or (artifact.sha256 and found.sha256.hex() != artifact.sha256):
        raise Fault(
            "build_failed", f"{artifact.filename} is not in find_links, or is another file there", reason="hash"
        )
    return found


def _needs_source(fault: Fault) -> bool:
    return (
        "building from source is disabled" in str(fault.facts.get("output", ""))
        or fault.facts.get("reason") == "no_wheel"
    )
