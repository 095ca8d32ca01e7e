"""The observer never raises and never lets one function's output take more than its share."""

from __future__ import annotations

from pathlib import Path

from recorded import MS, World, version

from wispd.adapters.store.records_query import LogFilter
from wispd.base.errors import Fault
from wispd.base.ids import to_text
from wispd.model.invocation import Status
from wispd.observe.allowance import BURST_BYTES, RATE_BYTES_PER_S, Allowances, lines_in
from wispd.observe.entries import FINISHED_SIZE
from wispd.observe.observer import LOG_MAX, TRACE_MAX


def test_the_log_of_one_invocation_is_bounded(tmp_path: Path) -> None:
    world = World(tmp_path)
    one = world.invocation(log=b"last\n" * 30_000)
    line = b"z" * 32_767 + b"\n"
    for _ in range(40):
        world.observer.invocation_log(one.id, one.version, line)
        world.clock.advance(0.1)
    world.observer.finished(one)
    world.recorder.pass_once()
    record = world.queries.show(to_text("inv", one.id))
    assert sum(len(piece.text) for piece in record.log) <= LOG_MAX
    assert record.log_dropped == 30_000
    assert world.metrics.log_lines_dropped == 8 + 30_000
    assert world.observer._early == {}
    world.close()


def test_an_instance_that_floods_is_cut_with_a_mark(tmp_path: Path) -> None:
    world = World(tmp_path)
    chunk = b"y" * 65_535 + b"\n"
    for _ in range(BURST_BYTES // len(chunk) + 10):
        world.observer.instance_log(version(), 7, chunk)
    world.observer.instance_log(version(), 8, b"the neighbour\n")
    world.clock.advance(5)
    world.observer.instance_log(version(), 7, b"after\n")
    world.recorder.pass_once()
    texts = [piece.text for piece in world.queries.logs(LogFilter(namespace="default"), limit=1000).items]
    assert texts[-2:] == ["the neighbour\n", "… 10 lines dropped\nafter\n"]
    assert world.metrics.log_lines_dropped == 10
    world.close()


def test_a_long_traceback_and_message_are_cut(tmp_path: Path) -> None:
    world = World(tmp_path)
    fault = Fault("function_error", "m" * 100_000)
    one = world.finish(1, status=Status.ERROR, error=fault, trace=b"t" * 1_000_000)
    world.recorder.pass_once()
    record = world.queries.show(to_text("inv", one.id))
    assert len(record.traceback) == TRACE_MAX
    assert record.error is not None
    assert len(record.error.message) < 5_000
    world.close()


def test_nonsense_is_counted_not_raised(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.finish(1, bytes_in=-5)
    world.finish(1, http_status=1 << 20)
    world.finish(1, version=None)
    world.observer.instance_log(None, 7, b"x")  # type: ignore[arg-type]
    world.observer.invocation_log(b"", None, b"x")  # type: ignore[arg-type]
    world.observer.cold_started(version(), -(10**30), 0, pooled=True)
    assert world.metrics.observer_errors == 6
    assert world.writer.dropped == 6
    world.finish(1)
    world.writer.close()
    assert world.recorder.pass_once() == 1
    world.close()


def test_a_closed_writer_drops(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.writer.close()
    world.observer.tick()
    world.close()


def test_a_record_takes_128_bytes() -> None:
    assert FINISHED_SIZE == 128


def test_counters_follow(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.finish(3)
    world.finish(1, status=Status.TIMEOUT, error=Fault("timeout", "x"))
    world.observer.refused("default", "whatever", "throttled")
    world.observer.refused("default", "whatever", "not_found")
    world.observer.cold_started(version(), 2 * MS, 8 * MS, pooled=False)
    shot = world.metrics.snapshot()
    (series,) = shot.series
    assert series.statuses[Status.OK] == 3
    assert series.statuses[Status.TIMEOUT] == 1
    assert sum(series.elapsed[:64]) == 4
    assert shot.errors == {"timeout": 1, "throttled": 1, "not_found": 1}
    assert shot.throttles == 1
    assert sum(shot.cold_forked[:64]) == 1
    assert shot.cold_forked[64] == 10 * MS
    world.close()


def test_many_versions_do_not_pile_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(5000):
        world.finish(1, version("hello", number=number))
    world.observer.tick()
    assert len(world.observer._slots) <= 4096
    world.finish(1, version("hello", number=1))
    assert world.recorder.pass_once() == 5001
    world.close()


def test_allowance_refills_at_its_rate_and_forgets_the_quiet() -> None:
    allowances = Allowances(limit=2)
    assert allowances.admit(1, b"x" * BURST_BYTES, now_ns=0)[1] == 0
    assert allowances.admit(1, b"a\nb", now_ns=0) == (b"", 2)
    half = b"x" * (RATE_BYTES_PER_S // 2)
    assert allowances.admit(1, half, now_ns=500_000_000)[0].startswith("… 2 lines dropped\n".encode())
    allowances.admit(2, b"x", now_ns=0)
    allowances.admit(3, b"x", now_ns=3_600_000_000_000)
    assert len(allowances._buckets) == 1


def test_lines() -> None:
    assert [lines_in(text) for text in (b"", b"a", b"a\n", b"a\nb")] == [0, 1, 1, 2]
