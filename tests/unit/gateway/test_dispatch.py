"""One invocation from submit to its end: cold, warm, waiting, late, lost, hostile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway_harness import Core, Player, version

from wisp.runtime import frames
from wispd.model.invocation import Status
from wispd.ports.engine import ExitCause


@pytest.fixture
def core() -> Iterator[Core]:
    core = Core()
    yield core
    core.close()


def answer_next(core: Core, player: Player, **answer: object) -> None:
    frame = player.read_invoke()
    assert frame is not None
    player.answer(frame.call, **answer)  # type: ignore[arg-type]
    core.loop.poll()


def test_cold_call_starts_one_instance_and_is_answered(core: Core) -> None:
    invocation, ear = core.call(version())
    assert [spec.code for _, spec in core.engine.asked] == ["0" * 64]
    player = core.engine.grant()
    hello, init, invoke = player.read(), player.read(), player.read()
    assert hello
    assert init
    assert invoke
    assert [hello.type, init.type, invoke.type] == [frames.HELLO, frames.INIT, frames.INVOKE]
    core.clock.advance(0.002)
    player.ready()
    core.loop.poll()
    core.clock.advance(0.005)
    player.answer(invoke.call, body=b"hello", block=b"content-type: text/plain\r\n")
    core.loop.poll()
    assert ear.heads == [(200, b"content-type: text/plain\r\n", b"hello", False)]
    assert (invocation.cold, invocation.status) == (True, Status.OK)
    assert invocation.init_ns == 2_000_000
    assert invocation.run_ns == 5_000_000
    assert core.observer.done == [invocation]
    assert core.observer.colds == 1
    assert core.admission.inflight == 0


def test_second_call_while_busy_starts_a_second_instance(core: Core) -> None:
    core.call(version())
    first = core.engine.grant()
    core.call(version())
    assert len(core.engine.asked) == 1
    second = core.engine.grant()
    assert first.read_invoke()
    assert second.read_invoke()


def test_slow_function_is_never_queued_ahead(core: Core) -> None:
    player = core.warm(version(), run_s=0.05)
    core.call(version())
    assert player.read_invoke()
    core.call(version())
    assert player.read_invoke() is None
    assert len(core.engine.asked) == 1


def test_quick_function_is_queued_ahead_and_then_scaled_out(core: Core) -> None:
    player = core.warm(version(), run_s=0.0003)
    for _ in range(5):
        core.call(version())
    sent = 0
    while player.read_invoke():
        sent += 1
    assert sent == 4  # 3 × 0.3 ms ahead is within 1 ms, 4 × 0.3 ms is not
    assert len(core.engine.asked) == 1


def test_frames_behind_an_overdue_head_are_taken_back_and_run_once(core: Core) -> None:
    player = core.warm(version(), run_s=0.0001)
    _, slow = core.call(version())
    head = player.read_invoke()
    assert head
    ears = [core.call(version())[1] for _ in range(3)]
    core.loop.advance(0.01)
    assert player.read_invoke() is None, "the three waited unread and were taken back"
    other = core.engine.grant()
    other.ready()
    core.loop.poll()
    for _ in range(3):
        answer_next(core, other)
    player.answer(head.call)
    core.loop.poll()
    assert all(len(ear.heads) == 1 for ear in [slow, *ears])


def test_unread_frames_of_a_dead_instance_go_to_another(core: Core) -> None:
    player = core.warm(version(), run_s=0.0001)
    _, begun = core.call(version())
    assert player.read_invoke()
    _, unread = core.call(version())
    core.engine.bury(player.number, ExitCause.SIGNALLED, 11)
    assert begun.code == "instance_lost"
    assert not unread.faults
    other = core.engine.grant()
    other.ready()
    core.loop.poll()
    answer_next(core, other)
    assert unread.heads


def test_answers_sent_before_death_count(core: Core) -> None:
    player = core.warm(version())
    _, ear = core.call(version())
    frame = player.read_invoke()
    assert frame
    player.answer(frame.call)
    core.engine.bury(player.number, ExitCause.EXITED, 0)
    assert ear.heads
    assert not ear.faults


def test_out_of_memory_is_named_and_auto_memory_grows_once(core: Core) -> None:
    ears = [core.call(version())[1] for _ in range(2)]
    players = [core.engine.grant() for _ in range(2)]
    for player in players:
        player.ready()
        assert player.read_invoke()
    core.loop.poll()
    for player in players:
        core.engine.bury(player.number, ExitCause.MEMORY_EXHAUSTED)
    assert [ear.code for ear in ears] == ["memory_exhausted"] * 2
    assert "512 MB" in ears[0].faults[0].message
    core.call(version())
    assert core.engine.asked[0][1].memory_bytes == 512 << 20


def test_fixed_memory_stays_fixed(core: Core) -> None:
    target = version(memory_bytes=128 << 20)
    _, ear = core.call(target)
    player = core.engine.grant()
    assert player.read_invoke()
    core.engine.bury(player.number, ExitCause.MEMORY_EXHAUSTED)
    assert "set a larger memory" in ear.faults[0].message
    core.loop.advance(0.2)
    core.call(target)
    assert core.engine.asked[0][1].memory_bytes == 128 << 20


def test_deadline_ends_the_call_and_the_instance(core: Core) -> None:
    target = version(timeout_s=3)
    player = core.warm(target)
    invocation, ear = core.call(target)
    assert player.read_invoke()
    core.loop.advance(3.1)
    assert ear.code == "timeout"
    assert "longer than its timeout of 3 s" in ear.faults[0].message
    assert invocation.status is Status.TIMEOUT
    assert core.engine.stopped == [player.number]
    player.answer(invocation.number)  # too late: never given to anybody
    core.loop.poll()
    assert not ear.heads


def test_deadline_while_waiting_for_an_instance(core: Core) -> None:
    slow = version(timeout_s=9, instances_max=1)
    player = core.warm(slow, run_s=0.01)
    core.call(slow)
    assert player.read_invoke()
    core.loop.advance(1)
    _, late = core.call(slow)
    late_deadline = core.dispatcher.inflight[3]
    late_deadline.deadline_ns = core.clock.monotonic_ns() + 1_000_000_000
    core.loop.advance(1.1)
    assert late.code == "timeout"
    assert "instances.max = 1" in late.faults[0].message


def test_initialisation_that_outlives_the_call_is_kept(core: Core) -> None:
    target = version(timeout_s=1)
    _, ear = core.call(target)
    player = core.engine.grant()
    core.loop.advance(1.1)
    assert "still initialising" in ear.faults[0].message
    assert not core.engine.stopped
    assert player.read_invoke()
    player.ready()
    core.loop.poll()
    player.answer(1)  # the call it was started for: given up, so this is a wrong frame
    core.loop.poll()
    assert core.engine.stopped == [player.number]


def test_failed_import_answers_at_once_with_the_reason(core: Core) -> None:
    _, ear = core.call(version())
    player = core.engine.grant()
    player.send(frames.pack(frames.FAILED, meta=frames.FAILURE_IMPORT, head=b"ValueError: no", body=b"Traceback"))
    core.loop.poll()
    assert ear.code == "init_failed"
    assert ear.faults[0].message == "ValueError: no"
    assert core.observer.done[0].trace == b"Traceback"


def test_an_exit_while_importing_is_named_as_such(core: Core) -> None:
    _, ear = core.call(version())
    player = core.engine.grant()
    assert player.read_invoke()
    core.engine.bury(player.number, ExitCause.EXITED, 3)
    assert ear.code == "init_failed"
    assert "while the function's code was being imported: it exited with code 3" in ear.faults[0].message


def test_crash_loop_backs_off_and_callers_fail_by_their_deadline(core: Core) -> None:
    target = version(timeout_s=2)
    ears = [core.call(target)[1] for _ in range(3)]
    starts = 0
    for _ in range(400):
        while core.engine.asked:
            starts += 1
            core.engine.bury(core.engine.grant().number, ExitCause.EXITED, 3)
        core.loop.advance(0.01)
    assert starts < 12
    assert all(len(ear.faults) == 1 for ear in ears)
    assert any("exited with code 3" in ear.faults[0].message for ear in ears)


@pytest.mark.parametrize(
    "packet",
    [
        b"short",
        frames.pack(frames.OUTCOME, 99, meta=200, head=frames.OUTCOME_HEAD.pack(0, 0, 0, 0, 0)),
        frames.pack(frames.OUTCOME, 2, meta=200, head=b"tiny"),
        frames.pack(frames.OUTCOME, 2, meta=99, head=frames.OUTCOME_HEAD.pack(0, 0, 0, 0, 0)),
        frames.pack(frames.OUTCOME, 2, meta=200, head=frames.OUTCOME_HEAD.pack(0, 0, 500, 0, 0)),
        frames.pack(frames.OUTCOME, 2, meta=200, head=frames.OUTCOME_HEAD.pack(0, 0, 7, 0, 0) + b"a: b\nc\n"),
        frames.pack(frames.BODY, 2, body=b"x"),
        frames.pack(frames.INVOKE, 2),
        frames.pack(frames.READY),
        frames.pack(frames.HELLO, meta=77),
        frames.pack(200, 2),
        frames.HEADER.pack(frames.LOG, 0, 0, 0, 2, 1 << 40),
    ],
)
def test_a_wrong_frame_ends_the_instance_and_not_the_gateway(core: Core, packet: bytes) -> None:
    player = core.warm(version())
    _, ear = core.call(version())
    assert player.read_invoke()
    player.send(packet)
    core.loop.poll()
    assert ear.code == "invalid_answer"
    assert core.engine.stopped == [player.number]


def test_an_unknown_optional_frame_is_ignored(core: Core) -> None:
    player = core.warm(version())
    _, ear = core.call(version())
    player.send(frames.pack(200, 2, flags=frames.OPTIONAL))
    answer_next(core, player)
    assert ear.heads


def test_answering_a_call_that_waits_its_turn_is_hostile(core: Core) -> None:
    player = core.warm(version(), run_s=0.0001)
    core.call(version())
    second, ear = core.call(version())
    player.answer(second.number)
    core.loop.poll()
    assert core.engine.stopped == [player.number]
    assert not ear.heads


def test_streamed_answer_and_failure_in_the_middle(core: Core) -> None:
    player = core.warm(version())
    invocation, ear = core.call(version())
    assert player.read_invoke()
    player.answer(invocation.number, body=b"a", flags=frames.MORE)
    player.send(frames.pack(frames.BODY, invocation.number, flags=frames.MORE, body=b"b"))
    player.send(frames.pack(frames.BODY, invocation.number, flags=frames.ERROR, body=b"Traceback"))
    core.loop.poll()
    assert ear.heads[0][2:] == (b"a", True)
    assert ear.chunks == [(b"b", True)]
    assert ear.code == "function_error"
    assert invocation.status is Status.ERROR


def test_function_error_keeps_its_traceback_from_the_caller(core: Core) -> None:
    player = core.warm(version())
    invocation, ear = core.call(version())
    assert player.read_invoke()
    player.answer(
        invocation.number, flags=frames.ERROR, block=b"ValueError: x", body=b"Traceback: secret", status=500
    )
    core.loop.poll()
    assert ear.faults[0].message == "ValueError: x"
    assert invocation.trace == b"Traceback: secret"


def test_large_bodies_arrive_whole_and_are_not_queued_ahead(core: Core) -> None:
    player = core.warm(version(), run_s=0.0001)
    core.call(version())
    _, ear = core.call(version(), b"z" * 3_000_000)
    answer_next(core, player)
    frame = player.read_invoke()
    assert frame
    size, more = len(frame.body), frame.flags & frames.MORE
    while more:
        core.loop.poll()
        part = player.read()
        assert part
        size += len(part.body)
        more = part.flags & frames.MORE
    assert size == 3_000_000
    player.answer(frame.call)
    core.loop.poll()
    assert ear.heads


def test_streamed_request_is_fed_and_asks_for_more(core: Core) -> None:
    target = version(dialect="asgi", concurrency=4)
    invocation, ear = core.call(target, b"start", done=False)
    assert core.dispatcher.feed(invocation, b"one", True) is False  # no instance yet: one chunk is kept
    player = core.engine.grant()
    assert ear.wanted == 1
    player.ready()
    core.loop.poll()
    assert core.dispatcher.feed(invocation, b"two", False)
    assert player.read_invoke()
    parts = [player.read(), player.read()]
    assert [(part.body, part.flags & frames.MORE) for part in parts if part] == [(b"one", 1), (b"two", 0)]
