"""Deploying many functions at once: a line for each, one trial for each content, committed in groups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from wispd.base.errors import Fault
from wispd.control.dataplane import Trial
from wispd.control.declaration import Declaration
from wispd.control.deployments import Deployments
from wispd.control.writer import Writer
from wispd.model.alias import LIVE
from wispd.model.published import Entry
from wispd.ports.catalogue import Catalogue, Reading, Registered, Wanted

LINE_MAX: Final = 1_048_576  # bytes of one line
LINES_MAX: Final = 200_000  # of one batch
GROUP: Final = 256  # lines that are committed together; others' changes come between two groups
CONTENTS_MAX: Final = 1000  # trials one batch may ask for

Line = dict[str, Any]


class Batches:
    """Batches of deployments. One batch is one request."""

    def __init__(self, reading: Reading, writer: Writer, deployments: Deployments) -> None:
        self._reading = reading
        self._writer = writer
        self._deployments = deployments

    async def deploy(self, namespace: str, lines: AsyncIterator[bytes], *, by: str) -> AsyncIterator[list[Line]]:
        """Deploy line by line; yields what became of each group, in order. A line that fails stops no other."""
        trials: dict[bytes, Trial | Fault | None] = {}
        group: list[bytes] = []
        async for line in lines:
            group.append(line)
            if len(group) == GROUP:
                yield await self._group(namespace, group, trials, by)
                group = []
        if group:
            yield await self._group(namespace, group, trials, by)

    async def _group(
        self, namespace: str, lines: Sequence[bytes], trials: dict[bytes, Trial | Fault | None], by: str
    ) -> list[Line]:
        results: list[Line] = [{} for _ in lines]
        wanted: list[tuple[int, Wanted]] = []
        for index, line in enumerate(lines):
            try:
                name, document = parsed(line)
                results[index]["name"] = name
                declared = self._deployments.declared(namespace, name, document)
                wanted.append((index, await self._wanted(declared, trials, by)))
            except Fault as fault:
                results[index]["error"] = {"code": fault.code, "message": fault.message}

        def change(catalogue: Catalogue) -> tuple[list[tuple[int, Registered | Fault, bool]], list[Entry]]:
            done: list[tuple[int, Registered | Fault, bool]] = []
            entries: list[Entry] = []
            for index, one in wanted:
                try:
                    (stored, fresh), published = self._deployments.put(catalogue, one)
                    done.append((index, stored, fresh))
                    entries += published
                except Fault as fault:
                    done.append((index, fault, False))
            return done, entries

        for index, stored, fresh in await self._writer.apply(change):
            if isinstance(stored, Fault):
                results[index]["error"] = {"code": stored.code, "message": stored.message}
            else:
                results[index] |= {"number": stored.published.live.number, "fresh": fresh}
        return results

    async def _wanted(self, declared: Declaration, trials: dict[bytes, Trial | Fault | None], by: str) -> Wanted:
        version = declared.version
        known = self._reading.versions.same(version.namespace, version.function, fingerprint=declared.fingerprint())
        trial = await self._tried(declared, trials) if known is None else None
        return self._deployments.wanted(declared, known, trial, alias=LIVE, by=by)

    async def _tried(self, declared: Declaration, trials: dict[bytes, Trial | Fault | None]) -> Trial | None:
        """Try each content once: functions that differ in their names only start alike."""
        content = declared.content()
        if content not in trials:
            if len(trials) >= CONTENTS_MAX:
                raise Fault("invalid_argument", f"a batch may have {CONTENTS_MAX} different contents; send another")
            self._deployments.check_uploads(declared.version, self._reading)
            try:
                trials[content] = await self._deployments.tried(declared.version) if declared.trial else None
            except Fault as fault:
                trials[content] = fault
        found = trials[content]
        if isinstance(found, Fault):
            raise found
        return found


def parsed(line: bytes) -> tuple[str, Line]:
    """Return the name and the declaration of a line. Raises: `Fault("invalid_argument")`."""
    try:
        document = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fault("invalid_argument", f"the line is no JSON object: {error}") from error
    name = document.pop("name", None)
    if not isinstance(name, str):
        raise Fault("invalid_argument", "the line has no name", key="name")
    return name, document
