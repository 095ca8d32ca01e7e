"""WebSockets at the public door: pressure, and every way to end."""

from __future__ import annotations

import pytest
from websocket_talk import Talk, closes, gate
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from wisp.runtime.messages import BINARY, CLOSE, TEXT, pack_close, pack_part
from wispd.base.errors import Fault
from wispd.gateway.http1 import Limits
from wispd.gateway.http1_websocket import PER_TURN

# ── pressure ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_instance_that_is_full_stops_the_client() -> None:
    talk = Talk(gate())
    talk.gate.calls.willing = False
    talk.send(TextMessage(data="1"))
    talk.send(TextMessage(data="2"))
    assert len(talk.told()) == 1
    assert not talk.wire.reading
    talk.gate.calls.willing = True
    talk.invocation.sink.want_body(talk.invocation)
    assert len(talk.told()) == 2
    assert talk.wire.reading


def test_a_slow_client_stops_the_instance_and_its_own_pings() -> None:
    talk = Talk(gate())
    talk.wire.stalled = True
    talk.say(pack_part(BINARY, b"x" * 70_000))
    assert talk.gate.calls.notes == ["pause"]
    assert not talk.wire.reading
    talk.wire.read(70_010)
    assert talk.gate.calls.notes == ["pause", "resume"]
    assert talk.wire.reading


def test_a_client_that_never_reads_is_cut_off() -> None:
    talk = Talk(gate())
    talk.wire.stalled = True
    talk.say(pack_part(BINARY, b"x" * 70_000))
    talk.gate.wait(talk.gate.limits.write_grace_s + 2)
    assert talk.wire.aborted
    talk.wire.connection.connection_lost(None)
    assert talk.gate.calls.cancelled == [talk.invocation]


def test_a_burst_of_either_side_is_cut_into_turns() -> None:
    talk = Talk(gate())
    burst = b"".join(bytes(talk.client.send(TextMessage(data="x"))) for _ in range(3 * PER_TURN))
    talk.wire.connection.data_received(burst)
    assert len(talk.told()) == PER_TURN
    assert not talk.wire.reading
    while talk.gate.loop.turn():
        pass
    assert len(talk.told()) == 3 * PER_TURN
    assert talk.wire.reading
    talk.say(pack_part(TEXT, b"y") * (2 * PER_TURN + 1))
    assert len(talk.heard()) == PER_TURN
    assert talk.gate.calls.notes == ["pause"]
    while talk.gate.loop.turn():
        pass
    assert len(talk.heard()) == PER_TURN + 1
    assert talk.gate.calls.notes == ["pause", "resume"]


def test_a_client_above_its_rate_waits_for_the_next_sweep() -> None:
    talk = Talk(gate(limits=Limits(frames_per_sweep=100)))
    for _ in range(300):
        talk.send(TextMessage(data="x"))
    before = len(talk.told())
    assert before < 300
    assert not talk.wire.reading
    talk.gate.wait(0.5)
    while talk.gate.loop.turn():
        pass
    assert before < len(talk.told()) < 300


# ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_closes() -> None:
    talk = Talk(gate())
    talk.send(CloseConnection(code=4000, reason="done"))
    assert closes(talk.heard()) == [(4000, "done")]
    assert talk.last_told == (4000, "done")
    assert talk.gate.calls.fed[-1][1] is False
    assert talk.wire.closed
    timeout_ns = int(talk.invocation.version.timeout_s * 1e9)
    assert talk.invocation.deadline_ns == talk.gate.clock.monotonic_ns() + timeout_ns
    talk.wire.connection.connection_lost(None)
    talk.say(pack_part(TEXT, b"too late"))
    assert talk.gate.calls.cancelled == []
    assert talk.gate.server.statistics().connections == 0


def test_an_application_closes_and_the_clients_answer_ends_it() -> None:
    talk = Talk(gate())
    talk.say(pack_part(TEXT, b"bye"), pack_close(4001, "enough"))
    talk.say(more=False)
    assert closes(talk.heard()) == [(4001, "enough")]
    assert not talk.wire.closed
    talk.send(CloseConnection(code=4001))
    assert talk.wire.closed


def test_an_application_that_returns_closes_normally() -> None:
    talk = Talk(gate())
    talk.say(pack_part(TEXT, b"bye"), more=False)
    heard = talk.heard()
    assert heard[0] == TextMessage(data="bye")
    assert closes(heard) == [(1000, "")]
    talk.gate.wait(talk.gate.limits.linger_s + 1)
    assert talk.wire.aborted


@pytest.mark.parametrize(
    ("code", "wanted"), [("function_error", 1011), ("instance_lost", 1011), ("timeout", 1001), ("draining", 1001)]
)
def test_a_failure_is_a_close_with_its_name(code: str, wanted: int) -> None:
    talk = Talk(gate())
    talk.invocation.sink.fault(talk.invocation, Fault(code, "the traceback stays here"))
    assert closes(talk.heard()) == [(wanted, code)]


def test_a_client_that_vanishes_cancels() -> None:
    talk = Talk(gate())
    talk.gate.hang_up(talk.wire)
    assert talk.gate.calls.cancelled == [talk.invocation]


@pytest.mark.parametrize(
    "lie",
    [
        b"\x07\0\0\0\0",
        pack_part(TEXT, b"\xff"),
        pack_part(TEXT, b"\xc3"),
        pack_part(TEXT, b"a", last=False) + pack_part(BINARY, b"b"),
        pack_part(CLOSE, b"\0\0"),
    ],
)
def test_a_lying_instance_ends_and_its_client_is_told(lie: bytes) -> None:
    talk = Talk(gate())
    talk.say(lie)
    assert talk.gate.calls.notes[0].startswith("hostile: ")
    assert closes(talk.heard()) == [(1011, "invalid_answer")]


def test_an_end_inside_of_a_message_is_a_lie() -> None:
    talk = Talk(gate())
    talk.say(pack_part(TEXT, b"a", last=False), more=False)
    assert talk.gate.calls.notes == ["hostile: the messages end inside of one"]


def test_draining_says_going_away_to_both() -> None:
    talk = Talk(gate())
    assert talk.gate.server.busy == 1
    talk.gate.server.drain()
    assert closes(talk.heard()) == [(1001, "the node is shutting down")]
    assert talk.last_told[0] == 1001
    assert talk.gate.server.busy == 0


def test_silence_is_pinged_and_a_deaf_client_cut_off() -> None:
    talk = Talk(gate())
    limits = talk.gate.limits
    talk.gate.wait(limits.ping_s + 1.5)
    assert talk.heard() == [Ping(payload=b"")]
    talk.send(Pong())
    talk.gate.wait(limits.ping_s + 1.5)
    assert talk.heard() == [Ping(payload=b"")]
    talk.gate.wait(limits.pong_s + 1.5)
    assert talk.wire.aborted


def test_without_messages_it_is_closed_whatever_is_pinged() -> None:
    talk = Talk(gate(limits=Limits(stream_idle_s=60)))
    for _ in range(13):
        talk.gate.wait(5)
        talk.send(Ping())
    assert closes(talk.heard()) == [(1001, "no message for 60 s")]
    assert talk.last_told[0] == 1001
    assert talk.gate.calls.cancelled == []


def test_messages_keep_it_open() -> None:
    talk = Talk(gate(limits=Limits(stream_idle_s=60)))
    for _ in range(40):
        talk.gate.wait(5)
        talk.send(TextMessage(data="x"))
    assert closes(talk.heard()) == []
    assert talk.wire.reading


def test_everything_counts_as_one_request() -> None:
    talk = Talk(gate())
    assert talk.gate.server.statistics().websockets == 1
    talk.send(CloseConnection(code=1000))
    talk.wire.connection.connection_lost(None)
    statistics = talk.gate.server.statistics()
    assert (statistics.websockets, statistics.requests, statistics.connections) == (0, 1, 0)
