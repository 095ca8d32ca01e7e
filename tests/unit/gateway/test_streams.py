"""Streams without an end: what keeps them open, what ends them, and what an instance may not do with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway_harness import Core, Ear, Player, version

from wisp.runtime import frames
from wispd.model.invocation import Invocation, Status

SSE = b"Content-Type: text/event-stream; charset=utf-8\r\n"
IDLE_S = 60


@pytest.fixture
def core() -> Iterator[Core]:
    made = Core()
    yield made
    made.close()


def opened(core: Core, block: bytes, *, concurrency: int = 64, status: int = 200) -> tuple[Invocation, Ear, Player]:
    target = version(dialect="asgi", concurrency=concurrency, timeout_s=10)
    player = core.warm(target)
    invocation, ear = core.call(target, done=status != 101)
    invocation.idle_ns = IDLE_S * 1_000_000_000
    invocation.websocket = status == 101
    frame = player.read_invoke()
    assert frame is not None
    player.answer(frame.call, status=status, block=block, body=b"", flags=frames.MORE)
    core.loop.poll()
    return invocation, ear, player


@pytest.mark.parametrize("concurrency", [1, 64])
def test_a_stream_of_events_outlives_its_timeout_as_long_as_it_says_something(core: Core, concurrency: int) -> None:
    invocation, ear, player = opened(core, SSE, concurrency=concurrency)
    for _ in range(20):
        core.loop.advance(IDLE_S - 1)
        player.send(frames.pack(frames.BODY, invocation.number, flags=frames.MORE, body=b"data: x\n\n"))
        core.loop.poll()
    assert (len(ear.chunks), ear.faults) == (20, [])
    core.loop.advance(IDLE_S + 1)
    assert ear.code == "timeout"
    assert "said nothing for 60 s" in ear.faults[0].message
    assert core.observer.done[-1].status is Status.TIMEOUT


def test_any_other_stream_ends_with_its_timeout(core: Core) -> None:
    _, ear, _ = opened(core, b"content-type: application/octet-stream\r\n")
    core.loop.advance(11)
    assert ear.code == "timeout"


def test_only_a_handshake_may_be_answered_101(core: Core) -> None:
    target = version(dialect="asgi", concurrency=64)
    player = core.warm(target)
    _, ear = core.call(target)
    frame = player.read_invoke()
    assert frame is not None
    player.answer(frame.call, status=101, flags=frames.MORE)
    core.loop.poll()
    assert ear.code == "invalid_answer"


def test_a_handshake_can_not_be_accepted_and_over(core: Core) -> None:
    target = version(dialect="asgi", concurrency=64)
    player = core.warm(target)
    invocation, ear = core.call(target, done=False)
    invocation.websocket = True
    frame = player.read_invoke()
    assert frame is not None
    player.answer(frame.call, status=101)
    core.loop.poll()
    assert ear.code == "invalid_answer"


def test_lies_inside_of_a_stream_end_the_instance_and_all_it_had(core: Core) -> None:
    invocation, ear, player = opened(core, b"", status=101)
    other, other_ear = core.call(invocation.version)
    core.dispatcher.hostile(invocation, "a lie")
    assert (ear.code, other_ear.code) == ("invalid_answer", "invalid_answer")
    assert core.engine.stopped == [player.number]
    assert {one.status for one in core.observer.done[-2:]} == {Status.INSTANCE_LOST}
    assert other.finished_ns


def test_sockets_share_the_busy_time_of_their_instance(core: Core) -> None:
    first, _, player = opened(core, b"", status=101)
    second, _ = core.call(first.version, done=False)
    second.websocket = True
    frame = player.read_invoke()
    assert frame is not None
    player.answer(frame.call, status=101, flags=frames.MORE)
    core.loop.poll()
    core.clock.advance(4)
    for one in (first, second):
        player.send(frames.pack(frames.BODY, one.number))
    core.loop.poll()
    assert first.status is second.status is Status.OK
    assert first.billed_ns + second.billed_ns == pytest.approx(4e9)
    assert first.run_ns == pytest.approx(4e9)
