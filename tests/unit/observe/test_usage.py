"""Usage as it is folded: by minute, by day, and as the gateway adds it up when it starts."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from recorded import World, version

from wispd.adapters.store import records_schema
from wispd.adapters.store.records_history import indexed
from wispd.app.recording import STORE_NAME
from wispd.app.spending import read_history
from wispd.base.errors import Fault
from wispd.metering.rating import Quantities

DAY_S = 86_400.0
MIB_MS = 3 * 256  # of one call of 2.5 ms


def test_days_and_minutes_are_the_same_usage(tmp_path: Path) -> None:
    world = World(tmp_path)
    begun_us = world.clock.unix_ns() // 1000
    for _ in range(40):
        world.finish(3)
        world.finish(1, version("other"))
        world.clock.advance(DAY_S / 7)
    world.recorder.pass_once()
    for since_s, until_s in ((0, 0), (DAY_S / 3, 0), (DAY_S / 3, 4.5 * DAY_S), (0.1, 0.2 * DAY_S)):
        since_us = begun_us + int(since_s * 1e6)
        until_us = begun_us + int(until_s * 1e6) if until_s else 0
        by_days = world.queries.usage("default", since_us=since_us, until_us=until_us)
        by_minutes = world.queries.usage("default", since_us=since_us, until_us=until_us, by=("function", "minute"))
        for name in ("calls", "mib_ms", "bytes_out"):
            whole = sum(getattr(one, name) for one in by_days)
            assert whole == sum(getattr(one, name) for one in by_minutes)
    assert sum(one.calls for one in world.queries.usage("default")) == 160
    world.close()


def test_what_is_metered_besides_calls_is_counted_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(3):
        world.observer.metered(version(), warm_mib_ms=1000, cpu_ns=2_000_000, refused=1)
        world.recorder.pass_once()
    (usage,) = world.queries.usage("default")
    assert (usage.calls, usage.warm_mib_ms, usage.cpu_ms) == (0, 3000, 6.0)
    world.close()


@pytest.mark.parametrize("passes_after", [0, 1, 5, 9])
def test_history_is_the_same_however_far_it_was_indexed(tmp_path: Path, passes_after: int) -> None:
    world = World(tmp_path, segment_bytes=16_384)
    for call in range(10):
        world.finish(20)
        world.observer.metered(version(), warm_mib_ms=5, cpu_ns=0, refused=0)
        if call == passes_after:
            world.recorder.pass_once()
    today = world.clock.unix_ns() // 86_400_000_000_000
    history = read_history(tmp_path, since_day=today - 1, own_epoch=world.writer.epoch)
    wanted = Quantities(calls=200, mib_ms=200 * MIB_MS, warm_mib_ms=50, bytes_out=200 * 20)
    assert history.used == {("default", "hello"): {today: wanted}}
    assert history.reached == world.writer.position
    assert read_history(tmp_path, since_day=today + 1, own_epoch=0).used == {}
    world.close()


def test_history_without_its_position_would_count_twice(tmp_path: Path) -> None:
    """The negative control: sums of the store and whole segments, without how far these were read."""
    world = World(tmp_path)
    world.finish(20)
    world.recorder.pass_once()
    stored = indexed(tmp_path / STORE_NAME, 0)
    assert stored.positions
    with apsw.Connection(str(tmp_path / STORE_NAME)) as connection:
        connection.execute("DELETE FROM segment")
    connection.close()
    history = read_history(tmp_path, since_day=0, own_epoch=world.writer.epoch)
    assert sum(used.calls for days in history.used.values() for used in days.values()) == 40
    world.close()


def test_an_older_store_is_migrated_with_its_days(tmp_path: Path) -> None:
    path = tmp_path / STORE_NAME
    connection = apsw.Connection(str(path))
    connection.execute(records_schema.MIGRATIONS[0])
    connection.execute("INSERT INTO function (id, namespace, name) VALUES (1, 'default', 'old')")
    connection.execute("INSERT INTO usage VALUES (1440, 1, 1, 1, 7, 0, 0, 1, 2, 3, 4, 5)")
    connection.pragma("user_version", 1)
    connection.close()
    with pytest.raises(Fault, match="new format"):
        indexed(path, 0)
    world = World(tmp_path)
    world.recorder.pass_once()
    (usage,) = world.queries.usage("default")
    assert (usage.function, usage.calls, usage.bytes_out) == ("old", 7, 5)
    world.close()
