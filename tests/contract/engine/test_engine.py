"""What every `Engine` promises. The same tests run on a fake and on real launchers, privileged and not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator

import pytest
from fake_engine import FakeEngine
from launcherbox import PATIENCE_S, Box, Events, answer, send_call, system_python_present

from wispd.ports.engine import Engine, ExitCause, Exited, Started, StartSpec

MISSING = "0" * 64


class Subject:
    """One engine under test and the ways to bring it into the states the contract speaks of."""

    def __init__(self, kind: str) -> None:
        self.box = (
            Box(user=kind == "user", mode="process" if kind == "process" else "auto") if kind != "fake" else None
        )
        self.loop = self.box.loop if self.box else asyncio.new_event_loop()
        self.events = self.box.events if self.box else Events()
        self.fake = None if self.box else FakeEngine(self.events, self.loop)
        self.engine: Engine = self.box.engine if self.box else self.fake  # type: ignore[assignment]
        self.code = self.box.deploy() if self.box else "1" * 64
        if self.fake:
            self.fake.known.add(self.code)
        self._tickets = 0
        self._held: list[int] = []

    def until(self, true: Callable[[], bool]) -> None:
        async def wait() -> None:
            end = time.monotonic() + PATIENCE_S
            while not true():
                assert time.monotonic() < end, "it did not happen in time"
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(wait())

    def ask(self, code: str) -> int:
        self._tickets += 1
        spec = StartSpec(namespace="default", code=code, memory_bytes=256 << 20, scratch_bytes=128 << 20)
        self.engine.start(self._tickets, spec)
        return self._tickets

    def start(self) -> Started:
        ticket = self.ask(self.code)
        self.until(lambda: ticket in self.events.starts or ticket in self.events.faults)
        started = self.events.starts[ticket]
        self._held += [started.link_fd, started.steal_fd, started.log_fd, started.schedstat_fd]
        return started

    def close_descriptor(self, number: int) -> None:
        self._held.remove(number)
        os.close(number)

    def exit_of(self, started: Started) -> Exited:
        self.until(lambda: started.instance in self.events.exits)
        return self.events.exits[started.instance]

    def die(self) -> None:
        if self.fake:
            self.fake.die()
        elif self.box:
            self.box.launcher.process.kill()
            self.box.launcher.close()

    def come_back(self) -> None:
        if self.fake:
            self.fake.come_back()
        elif self.box:
            self.box.launch()

    def close(self) -> None:
        if self.box:
            self.box.close()
        else:
            for started in self.events.starts.values():
                self.engine.stop(started.instance)
            self.loop.close()
        for number in self._held:
            if number >= 0:
                with contextlib.suppress(OSError):
                    os.close(number)


KINDS = ["fake", "user", "process", pytest.param("root", marks=pytest.mark.needs_root)]


@pytest.fixture(params=KINDS)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "user" and not system_python_present():
        pytest.skip("uid 65534 can't run a Python here, or not read this repository")
    one = Subject(request.param)
    yield one
    one.close()


def test_a_start_gives_an_instance_that_answers(subject: Subject) -> None:
    started = subject.start()
    numbers = [started.link_fd, started.steal_fd, started.log_fd]
    assert len(set(numbers)) == 3
    assert not any(os.get_inheritable(number) for number in numbers)
    send_call(started)
    frame = answer(started.link_fd)
    assert frame is not None
    assert frame.body == b"hello"


def test_instances_have_different_numbers(subject: Subject) -> None:
    assert len({subject.start().instance for _ in range(4)}) == 4


def test_every_ticket_is_answered_once(subject: Subject) -> None:
    good = [subject.ask(subject.code) for _ in range(5)]
    bad = [subject.ask(MISSING) for _ in range(5)]
    subject.until(lambda: set(subject.events.starts) >= set(good) and set(subject.events.faults) >= set(bad))
    assert not set(subject.events.starts) & set(subject.events.faults)
    for ticket in good:
        started = subject.events.starts[ticket]
        for number in (started.link_fd, started.steal_fd, started.log_fd, started.schedstat_fd):
            subject._held.append(number)


def test_missing_code_is_refused_with_a_reason(subject: Subject) -> None:
    ticket = subject.ask(MISSING)
    subject.until(lambda: ticket in subject.events.faults)
    assert subject.events.faults[ticket].facts["reason"] == "code_missing"
    assert ticket not in subject.events.starts


def test_stop_ends_an_instance_and_is_idempotent(subject: Subject) -> None:
    started = subject.start()
    subject.engine.stop(started.instance)
    subject.engine.stop(started.instance)
    assert subject.exit_of(started).cause == ExitCause.STOPPED
    subject.engine.stop(started.instance)
    subject.engine.stop(123_456_789)
    assert subject.start().instance != started.instance


def test_the_end_of_the_link_ends_the_instance(subject: Subject) -> None:
    started = subject.start()
    subject.close_descriptor(started.link_fd)
    exited = subject.exit_of(started)
    assert (exited.cause, exited.status) == (ExitCause.EXITED, 0)


def test_the_log_pipe_ends_with_the_instance(subject: Subject) -> None:
    started = subject.start()
    subject.engine.stop(started.instance)
    subject.exit_of(started)
    assert os.read(started.log_fd, 10) == b""


def test_sample_tells_running_instances(subject: Subject) -> None:
    running, ended = subject.start(), subject.start()
    subject.engine.stop(ended.instance)
    subject.exit_of(ended)
    subject.engine.sample()
    subject.until(lambda: bool(subject.events.samples))
    usage = dict(subject.events.samples[-1])
    assert usage[running.instance] > 0
    assert ended.instance not in usage


def test_keep_never_fails(subject: Subject) -> None:
    kind = {"layer": "", "namespace": "default", "network": "none"}
    subject.engine.keep("python3", members=1, **kind)  # type: ignore[arg-type]
    subject.engine.keep("python3", members=0, **kind)  # type: ignore[arg-type]
    subject.engine.keep("python9.9", members=3, **kind)  # type: ignore[arg-type]
    assert subject.start().instance


def test_a_lost_engine_says_so_refuses_and_comes_back(subject: Subject) -> None:
    subject.start()
    subject.die()
    subject.until(lambda: subject.events.changes == ["lost"])
    ticket = subject.ask(subject.code)
    subject.until(lambda: ticket in subject.events.faults)
    assert subject.events.faults[ticket].retryable
    subject.come_back()
    subject.until(lambda: subject.events.changes == ["lost", "restored"])
    started = subject.start()
    send_call(started)
    frame = answer(started.link_fd)
    assert frame is not None
    assert frame.body == b"hello"
