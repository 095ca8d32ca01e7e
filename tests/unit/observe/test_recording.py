"""From the end of an invocation to the answer of `wisp invocation show`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from recorded import MS, World, version

from wispd.adapters.store.records_query import LogFilter, RecordFilter
from wispd.adapters.store.records_retention import Retention
from wispd.base.errors import Fault
from wispd.base.ids import to_text
from wispd.model.invocation import Status


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_a_record_says_everything(world: World) -> None:
    one = world.invocation(
        version("resize", number=3),
        status=Status.ERROR,
        http_status=502,
        cold=True,
        init_ns=40 * MS,
        run_ns=7 * MS,
        billed_ns=5 * MS + 1,
        peak_bytes=30 << 20,
        attempt=2,
        error=Fault("function_error", "ValueError: no such size"),
        trace=b"Traceback (most recent call last):\n  boom\n",
        log=b"one\ntwo\n",
        log_dropped=4,
    )
    one.finished_ns = one.received_ns + 50 * MS
    world.observer.finished(one)
    world.recorder.pass_once()

    record = world.queries.show(to_text("inv", one.id))

    assert (record.namespace, record.function, record.version) == ("default", "resize", 3)
    assert (record.status, record.http_status, record.trigger, record.cold) == ("error", 502, "http", True)
    assert (record.queue_ms, record.init_ms, record.run_ms, record.elapsed_ms) == (3.0, 40.0, 7.0, 50.0)
    assert (record.billed_ms, record.cpu_wait_ms) == (6, pytest.approx(2.0, abs=0.001))
    assert (record.memory_bytes, record.peak_bytes) == (256 << 20, 30 << 20)
    assert (record.bytes_in, record.bytes_out, record.attempt, record.instance) == (10, 20, 2, 7)
    assert record.error is not None
    assert (record.error.code, record.error.message) == ("function_error", "ValueError: no such size")
    assert record.traceback.startswith("Traceback")
    assert [line.text for line in record.log] == ["one\ntwo\n"]
    assert record.log_dropped == 4
    assert record.received == "2025-06-15T15:06:40.000000Z"


def test_records_come_newest_first_page_by_page_and_filtered(world: World) -> None:
    world.finish(5)
    bad = world.finish(
        1, version("other"), status=Status.TIMEOUT, http_status=0, error=Fault("timeout", "30 s are over")
    )
    world.finish(1, version("hello", namespace="tenant"))
    world.recorder.pass_once()

    first = world.queries.page(RecordFilter(namespace="default"), limit=4)
    rest = world.queries.page(RecordFilter(namespace="default"), limit=4, cursor=first.next)
    ids = [record.invocation_id for record in (*first.items, *rest.items)]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), len(set(ids)), rest.next) == (6, 6, "")
    failed = world.queries.page(RecordFilter(namespace="default", status="timeout")).items
    assert [(one.invocation_id, one.http_status) for one in failed] == [(to_text("inv", bad.id), 504)]
    assert len(world.queries.page(RecordFilter(namespace="default", status="ok")).items) == 5
    assert len(world.queries.page(RecordFilter(namespace="default", function="hello")).items) == 5
    assert world.queries.page(RecordFilter(namespace="default", function="nobody")).items == ()
    late = RecordFilter(namespace="default", since_us=bad.received_us)
    assert [record.function for record in world.queries.page(late).items] == ["other"]


def test_logs_ahead_of_the_outcome_and_of_no_invocation(world: World) -> None:
    one = world.invocation(log=b"third\n")
    world.observer.instance_log(one.version, 7, b"first\n")
    world.observer.invocation_log(one.id, one.version, b"second \xff\n")
    world.recorder.pass_once()
    before = world.queries.logs(LogFilter(namespace="default", function="hello"))
    assert [line.text for line in before.items] == ["first\n", "second �\n"]

    world.observer.finished(one)
    world.recorder.pass_once()

    after = world.queries.logs(LogFilter(namespace="default", function="hello"), cursor=before.next)
    assert [line.text for line in after.items] == ["third\n"]
    again = world.queries.logs(LogFilter(namespace="default", function="hello"), cursor=after.next)
    assert (again.items, again.next) == ((), after.next)
    own = LogFilter(namespace="default", invocation_id=to_text("inv", one.id))
    assert [line.text for line in world.queries.logs(own).items] == ["second �\n", "third\n"]
    assert [line.text for line in world.queries.show(to_text("inv", one.id)).log] == ["second �\n", "third\n"]


def test_usage_is_summed_and_grouped(world: World) -> None:
    world.finish(3, run_ms=2.5)
    world.finish(1, version("other", number=2), run_ms=1.0, status=Status.ERROR, cold=True)
    world.clock.advance(3600)
    world.finish(1, run_ms=0.1)
    world.recorder.pass_once()

    hello, other = world.queries.usage("default")
    assert (hello.function, hello.calls, hello.failed, hello.billed_ms) == ("hello", 4, 0, 10)
    assert (hello.mib_ms, hello.bytes_in, hello.bytes_out) == (2560, 40, 80)
    assert (other.calls, other.failed, other.cold) == (1, 1, 1)
    (total,) = world.queries.usage("default", by=())
    assert (total.calls, total.function) == (5, "")
    hours = world.queries.usage("default", by=("hour",))
    assert [(row.period, row.calls) for row in hours] == [
        ("2025-06-15T15:00:00.000000Z", 4),
        ("2025-06-15T16:00:00.000000Z", 1),
    ]
    assert world.queries.usage("nobody") == ()


def test_a_hot_function_evicts_only_its_own_records_and_usage_stays(tmp_path: Path) -> None:
    world = World(tmp_path, kept=Retention(records_max=100))
    world.finish(5, version("quiet"))
    for _ in range(10):
        world.finish(60, version("hot"))
        world.recorder.pass_once()
    world.finish(500, version("hot"))  # one burst above the limit
    world.recorder.pass_once()

    hot = world.queries.page(RecordFilter(namespace="default", function="hot"), limit=1000).items
    assert 100 <= len(hot) <= 110
    assert len(world.queries.page(RecordFilter(namespace="default", function="quiet")).items) == 5
    assert {row.function: row.calls for row in world.queries.usage("default")} == {"hot": 1100, "quiet": 5}
    world.close()


def test_old_records_and_logs_go_by_age(tmp_path: Path) -> None:
    world = World(tmp_path, kept=Retention(age_s=3600))
    world.finish(3, log=b"old\n", status=Status.ERROR, error=Fault("function_error", "x"))
    world.recorder.pass_once()
    world.clock.advance(4000)
    world.finish(2, log=b"new\n")
    world.recorder.pass_once()
    world.clock.advance(700)  # the next time it looks
    world.recorder.pass_once()

    assert len(world.queries.page(RecordFilter(namespace="default")).items) == 2
    assert {line.text for line in world.queries.logs(LogFilter(namespace="default")).items} == {"new\n"}
    assert world.queries.usage("default")[0].calls == 5
    world.close()


def test_log_text_is_bounded_per_function(tmp_path: Path) -> None:
    world = World(tmp_path, kept=Retention(log_bytes_max=10_000))
    for number in range(100):
        world.finish(1, log=b"%03d " % number + b"x" * 500 + b"\n")
        world.recorder.pass_once()
    kept = world.queries.logs(LogFilter(namespace="default"), limit=1000).items
    assert 10_000 / 570 - 2 <= len(kept) <= 11_000 / 569 + 1
    assert kept[-1].text.startswith("099")
    world.close()


def test_wrong_questions_say_what_is_wrong(world: World) -> None:
    assert world.queries.page(RecordFilter(namespace="default")).items == ()  # nothing recorded yet
    for ask, code in (
        (lambda: world.queries.show("inv_1"), "invalid_argument"),
        (lambda: world.queries.show("inv_" + "0" * 32), "not_found"),
        (lambda: world.queries.page(RecordFilter(namespace="default", status="fine")), "invalid_argument"),
        (lambda: world.queries.page(RecordFilter(namespace="default"), limit=100_000), "invalid_argument"),
        (lambda: world.queries.page(RecordFilter(namespace="default"), cursor="x"), "invalid_argument"),
        (lambda: world.queries.usage("default", by=("colour",)), "invalid_argument"),  # type: ignore[arg-type]
    ):
        with pytest.raises(Fault) as caught:
            ask()
        assert caught.value.code == code


def test_a_record_of_another_namespace_is_not_found(world: World) -> None:
    one = world.finish(1)
    world.recorder.pass_once()
    text = to_text("inv", one.id)
    assert world.queries.show(text, namespace="default") == world.queries.show(text)
    with pytest.raises(Fault) as other:
        world.queries.show(text, namespace="other")
    with pytest.raises(Fault) as nothing:
        world.queries.show("inv_" + "0" * 32, namespace="other")
    assert other.value.code == "not_found"
    assert other.value.message.replace(text, "X") == nothing.value.message.replace("inv_" + "0" * 32, "X")


def test_questions_use_an_index_where_rows_are_many(world: World) -> None:
    """No plan sorts the records of a whole namespace: the newest fifty are read from the end of an index."""
    world.finish(1)
    world.recorder.pass_once()
    plans: list[str] = []
    connection = world.queries._open()
    assert connection is not None

    def explain(_: object, sql: str, arguments: object) -> bool:
        if not sql.startswith("EXPLAIN"):
            rows = connection.execute("EXPLAIN QUERY PLAN " + sql, arguments).fetchall()  # type: ignore[arg-type]
            plans.append("; ".join(str(row[3]) for row in rows))
        return True

    connection.exec_trace = explain
    world.queries.page(RecordFilter(namespace="default", since_us=5))
    world.queries.page(RecordFilter(namespace="default", status="error"))
    world.queries.page(RecordFilter(namespace="default", function="hello", status="error"))
    world.queries.logs(LogFilter(namespace="default", function="hello"), cursor=1)
    world.queries.logs(LogFilter(namespace="default"), cursor=1)
    assert len(plans) >= 5
    assert not [plan for plan in plans if "TEMP B-TREE FOR ORDER BY" in plan], plans
    assert any("invocation_failed" in plan for plan in plans)
