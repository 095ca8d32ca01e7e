"""Admission, budget, idle ends, minimum, multiplexing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway_harness import Core, version

from wisp.runtime import frames
from wispd.model.invocation import Status


@pytest.fixture
def core() -> Iterator[Core]:
    core = Core(limit=3, budget_bytes=100 << 20)
    yield core
    core.close()


def sweep(core: Core, seconds: float) -> None:
    """Let the periodic part run for a while."""
    for _ in range(int(seconds / 0.25) + 1):
        core.loop.advance(0.25)
        core.scaler.sweep()
        core.scaler.sweep()
        core.dispatcher.check_initialisation()
        core.dispatcher.forget_unused()


def test_the_namespace_limit_throttles_with_retry_after(core: Core) -> None:
    for _ in range(3):
        core.call(version())
    invocation, ear = core.call(version())
    assert ear.code == "throttled"
    assert ear.faults[0].retry_after_s == 1.0
    assert invocation.status is Status.THROTTLED
    assert core.observer.refusals == ["throttled"]
    assert not core.observer.done, "refused before admission: no record"


def test_a_reserved_share_is_its_own_and_nobody_elses(core: Core) -> None:
    core.admission.reserve("default", "vip", 1)
    for _ in range(2):
        core.call(version())
    _, ear = core.call(version())
    assert ear.code == "throttled"
    _, vip = core.call(version(function="vip", id="ver_2"))
    assert not vip.faults
    _, vip = core.call(version(function="vip", id="ver_2"))
    assert vip.code == "throttled"


def test_a_reserved_share_of_zero_is_off(core: Core) -> None:
    core.admission.reserve("default", "hello", 0)
    _, ear = core.call(version())
    assert "switched off" in ear.faults[0].message


def test_instances_max_makes_others_wait(core: Core) -> None:
    target = version(instances_max=1)
    player = core.warm(target, run_s=0.01)
    first, _ = core.call(target)
    second, ear = core.call(target)
    assert not core.engine.asked
    player.answer(first.number)
    core.loop.poll()
    player.answer(second.number)
    core.loop.poll()
    assert ear.heads


def test_budget_evicts_idle_instances_and_then_refuses(core: Core) -> None:
    targets = [version(function=f"f{n}", id=f"ver_{n}") for n in range(5)]
    players = [core.warm(target) for target in targets[:3]]
    for player in players:
        core.scaler.sampled([(player.number, 30 << 20)])
    sweep(core, 0.5)
    core.call(targets[3])
    assert core.engine.stopped == [players[0].number], "the longest idle goes first"
    core.engine.bury(players[0].number)
    busy = [core.engine.grant()]
    core.call(targets[1])
    core.call(targets[2])
    sweep(core, 0.5)
    core.admission.reserve("default", "f4", 1)
    _, ear = core.call(targets[4])
    assert ear.code == "no_capacity"
    assert ear.faults[0].retry_after_s == 1.0
    assert busy


def test_idle_instances_end_and_the_minimum_stays(core: Core) -> None:
    player = core.warm(version(idle_s=2))
    keeper = version(function="kept", id="ver_k", instances_min=1, idle_s=2)
    kept = core.warm(keeper)
    sweep(core, 1.5)
    assert not core.engine.stopped
    sweep(core, 1.5)
    assert core.engine.stopped == [player.number]
    core.engine.bury(player.number)
    sweep(core, 8)
    assert core.engine.stopped == [player.number]
    assert list(core.dispatcher.pools) == ["ver_k"], "a pool at zero is forgotten"
    core.engine.bury(kept.number)
    sweep(core, 0.5)
    assert core.engine.asked, "the minimum is started again"
    core.engine.grant()


def test_a_retired_version_keeps_no_idle_instance(core: Core) -> None:
    player = core.warm(version())
    core.dispatcher.pools["ver_1"].retired = True
    sweep(core, 0.5)
    assert core.engine.stopped == [player.number]


def test_initialisation_is_bounded(core: Core) -> None:
    target = version(timeout_s=100)
    _, ear = core.call(target)
    player = core.engine.grant()
    sweep(core, 31)
    assert ear.code == "init_failed"
    assert player.number in core.engine.stopped


def test_multiplexed_events_share_an_instance_up_to_its_concurrency(core: Core) -> None:
    target = version(concurrency=2, dialect="asgi")
    first, ear1 = core.call(target)
    second, ear2 = core.call(target)
    assert len(core.engine.asked) == 1
    player = core.engine.grant()
    player.ready()
    core.loop.poll()
    core.call(target)
    assert len(core.engine.asked) == 1
    core.clock.advance(0.010)
    player.answer(second.number)
    core.loop.poll()
    core.clock.advance(0.010)
    player.answer(first.number)
    core.loop.poll()
    assert ear1.heads
    assert ear2.heads
    assert second.billed_ns == 5_000_000, "two shared 10 ms"
    assert first.billed_ns == 10_000_000, "and then 10 ms with the third"
    core.engine.grant()


def test_multiplexed_answer_to_an_abandoned_call_is_dropped(core: Core) -> None:
    target = version(concurrency=2, dialect="asgi")
    invocation, ear = core.call(target)
    player = core.engine.grant()
    player.ready()
    core.loop.poll()
    core.dispatcher.cancel(invocation)
    player.answer(invocation.number)
    core.loop.poll()
    assert not core.engine.stopped
    assert not ear.heads
    player.answer(invocation.number)
    core.loop.poll()
    assert core.engine.stopped == [player.number], "a second answer is hostile"


def test_window_credit_bounds_what_is_under_way(core: Core) -> None:
    target = version(concurrency=2, dialect="asgi")
    body = b"x" * 1_000_000
    invocation, _ = core.call(target, body)
    player = core.engine.grant()
    player.ready()
    core.loop.poll()

    def received() -> int:
        size = 0
        core.loop.poll()
        while (frame := player.read()) is not None:
            size += len(frame.body) if frame.type in (frames.INVOKE, frames.BODY) else 0
            core.loop.poll()
        return size

    first = received()
    assert first <= frames.WINDOW_SIZE
    player.send(frames.pack(frames.WINDOW, invocation.number, head=frames.WINDOW_HEAD.pack(first)))
    assert 0 < received() <= frames.WINDOW_SIZE


def test_a_call_that_was_given_up_keeps_its_slot_until_it_ends(core: Core) -> None:
    target = version(concurrency=2, instances_max=1)
    player = core.warm(target)
    late, _ = core.call(target)
    core.dispatcher.cancel(late)
    core.call(target)
    _, ear = core.call(target)
    assert core.dispatcher.pools["ver_1"].waiting, "both slots are taken"
    player.answer(late.number)
    core.loop.poll()
    assert not core.dispatcher.pools["ver_1"].waiting
    assert not ear.faults


def test_an_instance_whose_calls_do_not_end_gets_no_more_of_them_and_is_replaced(core: Core) -> None:
    target = version(concurrency=2, timeout_s=5)
    player = core.warm(target)
    hung, hung_ear = core.call(target)
    sweep(core, 4)
    running, ear = core.call(target)
    sweep(core, 2)
    assert hung_ear.code == "timeout"
    assert not core.engine.stopped
    sweep(core, 2)
    assert not core.engine.stopped, "another call still runs there"
    core.call(target)
    assert len(core.engine.asked) == 1, "and what comes now goes elsewhere"
    player.answer(running.number)
    core.loop.poll()
    assert ear.heads
    assert core.engine.stopped == [player.number]
    assert hung.status is Status.TIMEOUT
    core.engine.grant()


def test_an_instance_that_ends_its_late_calls_stays(core: Core) -> None:
    target = version(concurrency=2, timeout_s=5)
    player = core.warm(target)
    late, _ = core.call(target)
    sweep(core, 5.5)
    player.answer(late.number)
    core.loop.poll()
    sweep(core, 5)
    assert not core.engine.stopped
