"""How invocations end early, and trials: cancelled calls, versions that are not live, a launcher that is gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway_harness import Core, Ear, Player, version

from wisp.runtime import frames
from wispd.base.errors import Fault
from wispd.gateway.opening import Ready
from wispd.model.entry import Entry
from wispd.model.invocation import Invocation, Status
from wispd.ports.engine import ExitCause


@pytest.fixture
def core() -> Iterator[Core]:
    core = Core()
    yield core
    core.close()


def answer_next(core: Core, player: Player) -> None:
    frame = player.read_invoke()
    assert frame is not None
    player.answer(frame.call)
    core.loop.poll()


def test_cancelled_while_waiting_is_never_sent(core: Core) -> None:
    invocation, ear = core.call(version())
    core.dispatcher.cancel(invocation)
    player = core.engine.grant()
    assert player.read_invoke() is None
    assert invocation.status is Status.CANCELLED
    assert core.admission.inflight == 0
    assert not ear.faults


def test_cancelled_while_queued_ahead_is_taken_back(core: Core) -> None:
    player = core.warm(version(), run_s=0.0001)
    core.call(version())
    head = player.read_invoke()
    assert head
    dropped, _ = core.call(version())
    kept, ear = core.call(version())
    core.dispatcher.cancel(dropped)
    frame = player.read_invoke()
    assert frame
    assert frame.call == kept.number
    player.answer(head.call)
    player.answer(kept.number)
    core.loop.poll()
    assert ear.heads


def test_cancelled_while_running_runs_on_unheard(core: Core) -> None:
    player = core.warm(version())
    invocation, ear = core.call(version())
    assert player.read_invoke()
    core.dispatcher.cancel(invocation)
    frame = player.read()
    assert frame
    assert frame.type == frames.CANCEL
    player.answer(invocation.number)
    core.loop.poll()
    assert not ear.heads
    assert invocation.status is Status.CANCELLED
    assert not core.engine.stopped


def test_trial_says_the_dialect_and_ends_its_instance(core: Core) -> None:
    results: list[tuple[Ready | None, Fault | None]] = []
    core.dispatcher.trial(version(), lambda ready, fault: results.append((ready, fault)))
    player = core.engine.grant()
    player.ready(dialect=3)
    core.loop.poll()
    assert [(ready and ready.dialect, fault) for ready, fault in results] == [("asgi", None)]
    assert core.engine.stopped == [player.number]


def test_trial_of_an_app_says_its_entry_points(core: Core) -> None:
    results: list[tuple[Ready | None, Fault | None]] = []
    core.dispatcher.trial(version(), lambda ready, fault: results.append((ready, fault)))
    player = core.engine.grant()
    player.ready(dialect=5, body=b'[{"kind":"every","name":"sweep","schedule":"5m"}]')
    core.loop.poll()
    assert results == [(Ready("app", 8 << 20, (Entry(kind="every", name="sweep", schedule="5m"),)), None)]


@pytest.mark.parametrize(
    "body", [b"[", b"{}", b'[{"kind":"every","name":"x"}]', b'[{"kind":"on","name":"a\\n","type":"b"}]']
)
def test_wrong_entry_points_end_the_instance_of_a_trial_and_nothing_else(core: Core, body: bytes) -> None:
    results: list[tuple[Ready | None, Fault | None]] = []
    core.dispatcher.trial(version(), lambda ready, fault: results.append((ready, fault)))
    player = core.engine.grant()
    player.ready(dialect=5, body=body)
    core.loop.poll()
    assert core.engine.stopped == [player.number]
    assert results[0][0] is None
    assert results[0][1] is not None


def test_entry_points_that_nobody_asked_for_are_not_looked_at(core: Core) -> None:
    _, ear = core.call(version())
    player = core.engine.grant()
    player.ready(dialect=5, body=b"no JSON")
    answer_next(core, player)
    assert ear.heads


def test_trial_of_code_that_does_not_import(core: Core) -> None:
    results: list[tuple[Ready | None, Fault | None]] = []
    core.dispatcher.trial(version(), lambda ready, fault: results.append((ready, fault)))
    player = core.engine.grant()
    player.send(frames.pack(frames.FAILED, meta=frames.FAILURE_HANDLER, head=b"no handler; found: main"))
    core.loop.poll()
    core.engine.bury(player.number, ExitCause.EXITED, 1)
    assert len(results) == 1
    assert results[0][1] is not None
    assert results[0][1].message == "no handler; found: main"


def test_launcher_lost_and_restored_serves_those_who_waited(core: Core) -> None:
    player = core.warm(version())
    _, begun = core.call(version())
    assert player.read_invoke()
    core.scaler.lost()
    core.engine.players.pop(player.number).die()
    assert begun.code == "instance_lost"
    _, waits = core.call(version())
    assert not core.engine.asked
    core.scaler.restored()
    fresh = core.engine.grant()
    fresh.ready()
    core.loop.poll()
    answer_next(core, fresh)
    assert waits.heads


class SlowReader(Ear):
    """A client whose connection is full with the very last bytes of its answer: it pauses while they are written."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        self._core = core

    def head(self, invocation: Invocation, status: int, block: bytes, body: bytes, more: bool) -> None:
        super().head(invocation, status, block, body, more)
        self._core.dispatcher.pause(invocation)

    def chunk(self, invocation: Invocation, body: bytes, more: bool) -> None:
        super().chunk(invocation, body, more)
        self._core.dispatcher.pause(invocation)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_reader_that_is_full_with_the_last_bytes_does_not_stop_the_next_call(core: Core, streamed: bool) -> None:
    player = core.warm(version())
    slow, _ = core.call(version())
    slow.sink = SlowReader(core)
    frame = player.read_invoke()
    assert frame
    if streamed:
        player.answer(frame.call, flags=frames.MORE)
        core.loop.poll()
        core.dispatcher.resume(slow)
        player.send(frames.pack(frames.BODY, frame.call, body=b"last"))
    else:
        player.answer(frame.call)
    core.loop.poll()
    assert slow.status is Status.OK
    _, ear = core.call(version())
    answer_next(core, player)
    assert ear.heads, "the instance's link is still paused for a call that is over"
