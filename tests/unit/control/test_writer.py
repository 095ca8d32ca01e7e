"""The one writer: groups are one commit, a refused change harms nobody, the gateway is told when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from wispd.adapters.store.control import ControlStore
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault
from wispd.control import writer as module
from wispd.control.publisher import Publisher
from wispd.control.writer import Writer
from wispd.model.function import Version
from wispd.model.published import Entry
from wispd.ports.catalogue import Catalogue, Registered, Wanted


class Counting(ControlStore):
    """A store that counts its commits."""

    commits = 0

    def commit(self) -> None:
        self.commits += 1
        super().commit()


class Scene:
    def __init__(self, data_dir: Path, away: int = 0) -> None:
        self.store = Counting(data_dir, VirtualClock(), node_id=bytes(16), epoch=1)
        self.publisher = Publisher(data_dir, self.store.entries)
        self.told: list[int] = []
        self.heard = asyncio.Event()
        self.away = away
        self.said: list[str] = []
        self.writer = Writer(self.store, self.publisher, self.announce, report=self.said.append)

    async def announce(self, offset: int) -> bool:
        self.away -= 1
        if self.away >= 0:
            return False
        self.told.append(offset)
        self.heard.set()
        return True

    async def put(self, name: str) -> Registered:
        version = Version(id=f"ver_{name}", namespace="n", function=name, number=0, code="0", handler="")

        def change(catalogue: Catalogue) -> tuple[Registered, Sequence[Entry]]:
            stored, _ = catalogue.put(Wanted(version=version, fingerprint=name.encode()))
            return stored, [stored.published]

        return await self.writer.apply(change)

    async def run(self, *names: str) -> list[object]:
        await self.writer.prepare()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.writer.run())
            outcomes = await asyncio.gather(*map(self.put, names), return_exceptions=True)
            await self.writer.stop()
        self.publisher.close()
        self.store.close()
        return list(outcomes)


def test_changes_that_wait_together_are_one_commit(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    asyncio.run(scene.run(*(f"f{number}" for number in range(100))))
    assert scene.store.commits == 1
    assert scene.publisher.lines == 100
    assert scene.told[-1] == (tmp_path / "published" / "journal.jsonl").stat().st_size


def test_a_refused_change_harms_nobody_in_its_group(tmp_path: Path) -> None:
    outcomes = asyncio.run(Scene(tmp_path).run("a", "A", "b"))
    refused = outcomes[1]
    assert isinstance(refused, Fault)
    assert refused.code == "conflict"
    assert [isinstance(outcome, Registered) for outcome in outcomes] == [True, False, True]


def test_a_gateway_that_was_away_is_told_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANNOUNCE_AGAIN_S", 0.0)

    async def scenario() -> None:
        scene = Scene(tmp_path, away=5)
        await scene.writer.prepare()
        async with asyncio.TaskGroup() as group:
            group.create_task(scene.writer.run())
            await scene.put("a")
            await scene.heard.wait()
            await scene.writer.stop()
        assert scene.told == [scene.publisher.offset]
        scene.publisher.close()
        scene.store.close()

    asyncio.run(scenario())


def test_a_stopped_writer_takes_nothing_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        scene = Scene(tmp_path)
        await scene.run("a")
        with pytest.raises(Fault) as caught:
            await scene.put("b")
        assert caught.value.code == "draining"

    asyncio.run(scenario())
