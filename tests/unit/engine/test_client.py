"""The engine's client against a launcher that lies: everything is checked, nothing leaks, nothing blocks."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest
from launcherbox import Events, open_descriptors

from wispd.adapters.engine.process import descriptors, protocol
from wispd.adapters.engine.process.client import QUEUE_MAX, ProcessEngine, start_message
from wispd.ports.engine import ExitCause, StartSpec

CODE = "ab" * 32
WELCOME = protocol.WELCOME_MESSAGE.pack(protocol.WELCOME, 2)


class Wire:
    """A client and the launcher's end of its connection."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.events = Events()
        self.engine = ProcessEngine(self.events, data="/data", loop=self.loop)
        self.launcher = self.connect()

    def connect(self) -> socket.socket:
        ours, theirs = descriptors.packet_pair()
        self.engine.connect(ours.detach())
        theirs.setblocking(False)
        return theirs

    def turn(self, count: int = 3) -> None:
        """Let the client's loop run a few rounds."""
        for _ in range(count):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def say(self, content: bytes, given: tuple[int, ...] = ()) -> None:
        descriptors.send(self.launcher, content, given)
        self.turn()

    def close(self) -> None:
        self.engine.close()
        self.launcher.close()
        self.loop.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    one = Wire()
    yield one
    one.close()


def spec(**changes: object) -> StartSpec:
    fields: dict[str, object] = {"namespace": "n", "code": CODE, "memory_bytes": 1 << 28, "scratch_bytes": 1 << 27}
    return StartSpec(**(fields | changes))  # type: ignore[arg-type]


def started(ticket: int, instance: int = 9) -> bytes:
    return protocol.STARTED_MESSAGE.pack(protocol.STARTED, 1, ticket, instance, 1000)


def test_a_start_before_the_welcome_is_refused(wire: Wire) -> None:
    wire.engine.start(1, spec())
    wire.turn()
    assert wire.events.faults[1].code == "unavailable"


def test_a_start_is_sent_and_its_answer_told(wire: Wire) -> None:
    wire.say(WELCOME)
    wire.engine.start(1, spec(network_allow=("10.0.0.1:5432",)))
    sent = wire.launcher.recv(4096)
    assert sent == start_message(1, spec(network_allow=("10.0.0.1:5432",)))
    assert len(sent) == protocol.START_MESSAGE.size + protocol.ALLOW.size
    ends = [*os.pipe(), *os.pipe()]
    wire.say(started(1), tuple(ends))
    told = wire.events.starts[1]
    assert (told.instance, told.code_path, told.layer_path, told.pooled) == (9, "/app", "", True)
    assert os.get_blocking(told.steal_fd)  # it is the instance's own end
    descriptors.close_all([*ends, told.link_fd, told.steal_fd, told.log_fd, told.schedstat_fd])


def test_without_namespaces_paths_are_the_hosts(wire: Wire) -> None:
    wire.say(protocol.WELCOME_MESSAGE.pack(protocol.WELCOME, 0))
    wire.engine.start(1, spec(layer="cd" * 32))
    ends = os.pipe()
    wire.say(started(1), (ends[0], ends[0], ends[1]))
    told = wire.events.starts[1]
    assert (told.code_path, told.layer_path) == (f"/data/code/{CODE}", f"/data/layers/{'cd' * 32}")
    assert told.schedstat_fd == -1
    descriptors.close_all([*ends, told.link_fd, told.steal_fd, told.log_fd])


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        started(1)[:-1],
        started(1) + b"x",
        started(2),  # a ticket nobody asked for
        protocol.REFUSED_MESSAGE.pack(protocol.REFUSED, 200, 1),
        protocol.EXITED_MESSAGE.pack(protocol.EXITED, 77, 0, 1, 0, 0),
        protocol.EXITED_MESSAGE.pack(protocol.EXITED, 1, 0, 1, 0, 0)[:-3],
        protocol.SAMPLED_MESSAGE.pack(protocol.SAMPLED, 5),
        b"\x44",
        protocol.WELCOME_MESSAGE.pack(protocol.WELCOME, 9),
        b"\x41" * (protocol.MESSAGE_MAX + 1),
    ],
)
def test_a_message_out_of_shape_ends_the_connection_and_leaks_nothing(wire: Wire, content: bytes) -> None:
    wire.say(WELCOME)
    wire.engine.start(1, spec())
    before = open_descriptors()
    reading, writing = os.pipe()
    wire.say(content, (reading, writing, reading))
    descriptors.close_all([reading, writing])
    assert wire.events.changes == ["lost"]
    assert len(open_descriptors()) <= len(before)
    wire.engine.start(2, spec())
    wire.turn()
    assert wire.events.faults[2].code == "unavailable"


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8])
def test_a_start_with_a_wrong_number_of_descriptors_ends_the_connection(wire: Wire, count: int) -> None:
    wire.say(WELCOME)
    wire.engine.start(1, spec())
    before = len(open_descriptors())
    reading, writing = os.pipe()
    wire.say(started(1), (reading,) * count)
    descriptors.close_all([reading, writing])
    assert wire.events.changes == ["lost"]
    assert len(open_descriptors()) < before


def test_ends_and_samples_are_told(wire: Wire) -> None:
    wire.say(WELCOME)
    wire.say(protocol.EXITED_MESSAGE.pack(protocol.EXITED, 4, 9, 77, 123, 456))
    exited = wire.events.exits[77]
    assert (exited.cause, exited.status, exited.cpu_ns, exited.peak_bytes) == (
        ExitCause.MEMORY_EXHAUSTED,
        9,
        123,
        456,
    )
    wire.say(protocol.SAMPLED_MESSAGE.pack(protocol.SAMPLED, 1) + protocol.SAMPLE_ENTRY.pack(77, 5))
    assert wire.events.samples == [[(77, 5)]]


def test_a_new_connection_means_that_the_old_launcher_is_gone(wire: Wire) -> None:
    wire.say(WELCOME)
    old, wire.launcher = wire.launcher, wire.connect()
    assert wire.events.changes == ["lost"]
    wire.say(WELCOME)
    assert wire.events.changes == ["lost", "restored"]
    old.close()


def test_a_launcher_that_does_not_read_never_blocks_and_is_bounded(wire: Wire) -> None:
    wire.say(WELCOME)
    for ticket in range(QUEUE_MAX + 5000):
        wire.engine.start(ticket, spec())
    wire.turn()
    assert wire.events.faults
    sent = 0
    for _ in range(200):
        try:
            while wire.launcher.recv(4096):
                sent += 1
        except BlockingIOError:
            wire.turn()
    assert sent + len(wire.events.faults) == QUEUE_MAX + 5000  # each was sent or refused, none forgotten


def test_what_can_not_be_said_is_refused_by_name(wire: Wire) -> None:
    wire.say(WELCOME)
    wire.engine.start(1, spec(runtime="ruby"))
    wire.engine.start(2, spec(network_allow=("nonsense",)))
    wire.turn()
    assert "ruby" in wire.events.faults[1].message
    assert "nonsense" in wire.events.faults[2].message
