"""Profiles in the store: right beyond what records are kept, merged exactly once, and forgotten in time."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded import MS, World, version

from wispd.adapters.store import records_profiles
from wispd.adapters.store.records_retention import Retention
from wispd.base.errors import Fault
from wispd.metering.rating import PriceList
from wispd.metering.statistics import series
from wispd.model.invocation import Status
from wispd.model.statistics import Point

KEY = ("default", "hello")


def total(world: World, *, step: int = 1) -> Point:
    now = world.clock.unix_ns() // 60_000_000_000 // step
    found = world.queries.profiles(KEY, step=step, first=now - 10_000, last=now + 1)
    unit_s = 60 * step
    first_s, last_s = (now - 10_000) * unit_s, (now + 1) * unit_s
    seconds = [(slot * unit_s, profile) for slot, profile in found]
    return series(seconds, first_s=first_s, last_s=last_s, step_s=last_s - first_s, prices=PriceList())[1]


@pytest.mark.parametrize("step", [records_profiles.MINUTE, records_profiles.HOUR])
def test_statistics_are_right_beyond_what_records_are_kept(tmp_path: Path, step: int) -> None:
    world = World(tmp_path, kept=Retention(records_max=10))
    for minute in range(5):
        for run_ms in range(1, 101):
            world.finish(1, run_ms=float(run_ms), attempt=1 + (run_ms == 7), cold=run_ms == 1)
        world.finish(1, status=Status.ERROR, error=Fault("function_error", "no"), run_ms=50.0)
        world.observer.metered(version(), warm_mib_ms=0, cpu_ns=0, refused=2)
        world.recorder.pass_once()
        world.clock.advance(60 if minute < 4 else 0)
    found = total(world, step=step)
    assert (found.calls, found.errors, found.refused, found.retries, found.cold) == (505, 5, 10, 5, 5)
    assert found.run_mean_ms == pytest.approx(50.5, rel=0.01)
    assert found.run_p95_ms == pytest.approx(95, rel=0.04)
    assert found.delay_p50_ms == pytest.approx(1, rel=0.04)
    assert found.cost_micro > 0
    world.close()


def test_facts_say_how_calls_ended_and_what_was_said_last(tmp_path: Path) -> None:
    world = World(tmp_path)
    begun_us = world.clock.unix_ns() // 1000
    world.finish(3)
    world.finish(2, status=Status.ERROR, error=Fault("function_error", "KeyError"))
    world.finish(1, cold=True, init_ns=1400 * MS)
    world.finish(1, version("other"), status=Status.TIMEOUT)
    world.recorder.pass_once()
    facts = world.queries.facts(KEY, since_us=begun_us)
    assert [(one.status, one.code, one.count, one.message) for one in facts.outcomes] == [
        ("ok", "", 4, ""),
        ("error", "function_error", 2, "KeyError"),
    ]
    assert len(facts.runs) == 6
    assert (facts.runs[0].cold, facts.runs[0].init_ns) == (True, 1400 * MS)
    assert world.queries.facts(("default", "nobody"), since_us=0).outcomes == ()
    world.close()


def test_old_profiles_are_forgotten_minutes_before_hours(tmp_path: Path) -> None:
    world = World(tmp_path, kept=Retention(age_s=3600.0))
    world.finish(5)
    world.recorder.pass_once()
    world.clock.advance(2 * 3600)
    world.finish(1)
    world.recorder.pass_once()
    world.recorder.pass_once()
    assert (total(world).calls, total(world, step=60).calls) == (1, 6)
    world.close()
