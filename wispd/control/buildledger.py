"""What is kept of builds: a row each in the store, and what they wrote, in files that go with the rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.base.ids import from_text, to_text
from wispd.control.buildinputs import FOLDER
from wispd.control.writer import Writer
from wispd.model.build import Build
from wispd.model.published import Entry
from wispd.ports.access import UploadKind, Uploads
from wispd.ports.building import BuildReading, BuildWriting

LOG_BYTES_MAX: Final = 2 << 20
PREFIX: Final = "bld"


class BuildStoring(BuildReading, BuildWriting, Protocol):
    """Builds as they are stored."""


class Stored(Protocol):
    """One connection to the store."""

    @property
    def builds(self) -> BuildStoring: ...

    @property
    def uploads(self) -> Uploads: ...


class Ledger:
    """Builds of all namespaces."""

    def __init__(
        self, data_dir: Path, reading: Stored, storing: Stored, *, writer: Writer, clock: Clock,
        ids: Callable[[], bytes],
    ) -> None:  # fmt: skip
        self._folder = data_dir / FOLDER / "logs"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._reading = reading
        self._storing = storing
        self._writer = writer
        self._clock = clock
        self._ids = ids

    async def begin(self, namespace: str, *, source: str, code: str) -> Build:
        """Note that a build runs."""
        build = Build(
            id=to_text(PREFIX, self._ids()),
            namespace=namespace,
            status="running",
            created_us=self._clock.unix_ns() // 1000,
            source=source,
            code=code,
        )
        await self._keep(build)
        return build

    async def end(self, build: Build, log: bytes) -> Build:
        """Note how a build ended, with what it wrote."""
        build = msgspec.structs.replace(build, finished_us=self._clock.unix_ns() // 1000)
        self._path(build.id).write_bytes(log[-LOG_BYTES_MAX:])
        await self._keep(build)
        return build

    async def abandon(self) -> None:
        """Fail what an earlier process left running."""
        await self._writer.apply(lambda _: (self._storing.builds.abandon(), []))

    async def remember(self, scope: str, key: bytes, *, digest: str, build_id: str, kind: UploadKind) -> None:
        """Note what was made of an input; the namespace may deploy it from now on."""

        def change(_: object) -> tuple[None, list[Entry]]:
            self._storing.builds.remember(scope, key, digest=digest, build_id=build_id)
            if scope and digest:
                self._storing.uploads.add(scope, kind, digest)
            return None, []

        await self._writer.apply(change)

    def owns(self, namespace: str, code: str) -> bool:
        """Did this namespace upload this code?"""
        return self._reading.uploads.has(namespace, "code", code)

    def made(self, scope: str, key: bytes) -> tuple[str, str] | None:
        """Return (digest, id of the build) that was made of an input."""
        return self._reading.builds.made(scope, key)

    def found(self, namespace: str, build_id: str, *, layer: str, code: str) -> Build:
        """Return what an earlier build made, as a build that had nothing to do."""
        known = self._reading.builds.build(namespace, build_id) if build_id else None
        now_us = self._clock.unix_ns() // 1000
        known = known or Build(id=build_id, namespace=namespace, status="done", created_us=now_us)
        return msgspec.structs.replace(known, layer=layer, code=code, status="done", message="", cached=True)

    def show(self, namespace: str, build_id: str) -> tuple[Build, str]:
        """Return a build and what it wrote. Raises: `Fault("not_found")`."""
        try:
            from_text(PREFIX, build_id)
            build = self._reading.builds.build(namespace, build_id)
        except ValueError:
            build = None
        if build is None:
            raise Fault("not_found", f"build {build_id[:80]!r} is not in namespace {namespace!r}")
        try:
            log = self._path(build_id).read_bytes().decode("utf-8", "replace")
        except OSError:
            log = ""
        return build, log

    def page(self, namespace: str, *, before: str, limit: int) -> list[Build]:
        return self._reading.builds.builds(namespace, before=before, limit=limit)

    async def _keep(self, build: Build) -> None:
        forgotten = await self._writer.apply(lambda _: (self._storing.builds.keep(build), []))
        for old in forgotten:
            self._path(old).unlink(missing_ok=True)

    def _path(self, build_id: str) -> Path:
        return self._folder / f"{build_id}.log"
