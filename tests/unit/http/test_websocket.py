"""WebSockets at the public door: handshakes, and messages both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from http_harness import Gate, body_of, header, published, status
from websocket_talk import HIDDEN, KEY, Talk, closes, gate, offer
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, Ping, Pong, TextMessage

from wisp.runtime import frames
from wisp.runtime.messages import BINARY, TEXT, pack_part
from wispd.gateway.http1 import Limits
from wispd.model.invocation import NEVER_NS

# ── handshake ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_handshake_becomes_an_invocation_and_its_acceptance_the_answer() -> None:
    talk = Talk(gate(), "Sec-WebSocket-Protocol: a, b", block=b"x-a: 1\r\nsec-websocket-protocol: b\r\n")
    frame = frames.parse(talk.invocation.frame)
    assert frame.flags == frames.HTTP | frames.MORE | frames.WEBSOCKET
    assert b"sec-websocket-protocol: a, b\r\n" in frame.head
    assert b"upgrade:" not in frame.head
    answer = bytes(talk.wire.out)
    assert status(answer) == 101
    assert header(answer, "Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
    assert header(answer, "Sec-WebSocket-Protocol") == "b"
    assert header(answer, "Connection") == "Upgrade"
    assert header(answer, "X-A") == "1"
    assert header(answer, "Wisp-Invocation-Id") == f"inv_{talk.invocation.id.hex()}"
    assert header(answer, "Content-Length") is None
    assert talk.invocation.deadline_ns == NEVER_NS


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (offer(without="Sec-WebSocket-Version"), 426),
        (offer("Sec-WebSocket-Version: 8", without="Sec-WebSocket-Version"), 426),
        (offer(without="Sec-WebSocket-Key"), 400),
        (offer("Sec-WebSocket-Key: short", without="Sec-WebSocket-Key"), 400),
        (offer(f"Sec-WebSocket-Key: {KEY}"), 400),
        (offer("Content-Length: 3"), 400),
        (offer(path="/fn/nobody"), 404),
        (offer(host="evil.example"), 421),
    ],
)
def test_a_bad_handshake_is_refused_and_nothing_behind_it_is_a_request(request_: bytes, wanted: int) -> None:
    door = gate()
    wire = door.talk(request_ + HIDDEN)
    assert status(bytes(wire.out)) == wanted
    assert bytes(wire.out).count(b"HTTP/1.1 ") == 1
    assert wire.over
    assert door.calls.invocations == []
    if wanted == 426:
        assert header(bytes(wire.out), "Sec-WebSocket-Version") == "13"


@pytest.mark.parametrize("without", ["Upgrade", "Connection"])
def test_half_an_offer_is_none(without: str) -> None:
    door = gate()
    wire = door.talk(offer(without=without))
    assert status(bytes(wire.out)) == 200
    assert not frames.parse(door.calls.invocations[0].frame).flags & frames.WEBSOCKET


@pytest.mark.parametrize("dialect", ["native", "lambda", "wsgi"])
def test_other_dialects_say_what_is_needed(dialect: Any) -> None:
    door = Gate(published(dialect=dialect))
    answer = bytes(door.talk(offer()).out)
    assert status(answer) == 501
    assert "a WebSocket needs an ASGI application" in json.loads(body_of(answer))["detail"]


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        ("http://localhost:3000", True),
        ("http://app.localhost:8080", True),
        ("http://127.0.0.1:8080", True),
        ("https://evil.example", False),
        ("null", False),
    ],
)
def test_a_page_from_elsewhere_needs_a_token_even_on_loopback(origin: str, wanted: bool) -> None:
    door = gate()
    door.calls.keep = True
    wire = door.talk(offer(f"Origin: {origin}"))
    assert bool(door.calls.invocations) is wanted
    assert wanted or status(bytes(wire.out)) == 401


def test_what_is_public_by_declaration_is_so_for_every_page() -> None:
    door = Gate(published(dialect="asgi", access="public"))
    door.calls.keep = True
    door.talk(offer("Origin: https://elsewhere.example"))
    assert len(door.calls.invocations) == 1


def test_an_application_that_refuses_answers_as_over_http() -> None:
    talk = Talk(gate(), accept=False)
    talk.invocation.sink.head(talk.invocation, 403, b"", b"no", False)
    answer = bytes(talk.wire.out)
    assert (status(answer), body_of(answer)) == (403, b"no")
    assert talk.wire.over


def test_a_subprotocol_that_nobody_offered_ends_the_instance() -> None:
    talk = Talk(gate(), "Sec-WebSocket-Protocol: a", block=b"sec-websocket-protocol: b\r\n")
    assert status(bytes(talk.wire.out)) == 502
    assert talk.gate.calls.notes[0].startswith("hostile: subprotocol b'b'")


def test_frames_that_came_with_the_handshake_are_read_after_it() -> None:
    door = gate()
    door.calls.keep = True
    client = Connection(ConnectionType.CLIENT)
    wire = door.talk(offer() + client.send(TextMessage(data="early")))
    (invocation,) = door.calls.invocations
    assert door.calls.fed == []
    invocation.sink.head(invocation, 101, b"", b"", True)
    assert door.calls.fed == [(pack_part(TEXT, b"early"), True)]
    assert wire.reading


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_messages_go_both_ways() -> None:
    talk = Talk(gate())
    talk.send(TextMessage(data="grüße"))
    talk.send(BytesMessage(data=b"\x00\xff"))
    assert talk.told() == [(TEXT, "grüße".encode(), True), (BINARY, b"\x00\xff", True)]
    talk.say(pack_part(TEXT, "zurück".encode()), pack_part(BINARY, b""))
    assert talk.heard() == [TextMessage(data="zurück"), BytesMessage(data=b"")]


def test_fragments_are_passed_on_as_they_come_with_control_frames_between() -> None:
    talk = Talk(gate())
    talk.send(TextMessage(data="a", message_finished=False))
    talk.send(Ping(payload=b"p"))
    assert talk.heard() == [Pong(payload=b"p")]
    talk.send(TextMessage(data="b"))
    assert talk.told() == [(TEXT, b"a", False), (TEXT, b"b", True)]
    whole = "ü".encode()
    talk.say(pack_part(TEXT, whole[:1], last=False))
    talk.say(pack_part(TEXT, whole[1:]))
    assert "".join(event.data for event in talk.heard() if isinstance(event, TextMessage)) == "ü"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x01a", 1002),  # not masked
        (b"\xc1\x81\0\0\0\0a", 1002),  # a reserved bit
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that is none
        (b"\x80\x81\0\0\0\0a", 1002),  # goes on with nothing
        (b"\x09\x80\0\0\0\0", 1002),  # a control frame in fragments
        (b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126, 1002),  # a long ping
        (b"\x81\xfe\x00\x01\0\0\0\0a", 1002),  # a length in more bytes than it needs
        (b"\x88\x81\0\0\0\0a", 1002),  # a close of one byte
        (b"\x88\x82\0\0\0\0\x03\xed", 1002),  # close 1005
        (b"\x88\x82\0\0\0\0\x00\x01", 1002),  # close 1
        (b"\x81\x82\0\0\0\0\xc3\x28", 1007),  # not UTF-8
        (b"\x01\x81\0\0\0\0\xc3\x80\x81\0\0\0\0\x28", 1007),  # … over two fragments
    ],
)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
def test_wrong_frames_close_with_their_code_and_run_nothing(frame: bytes, code: int, cut: bool) -> None:
    talk = Talk(gate())
    for part in [frame[i : i + 1] for i in range(len(frame))] if cut else [frame]:
        talk.raw(part)
    talk.raw(HIDDEN)
    assert [found for found, _ in closes(talk.heard())] == [code]
    assert talk.last_told[0] == code
    assert talk.wire.half_closed
    assert len(talk.gate.calls.invocations) == 1


def test_too_large_a_message_is_refused_in_one_frame_or_in_many() -> None:
    for pieces in (1, 10):
        talk = Talk(gate(limits=Limits(message_bytes=1000)))
        for _ in range(pieces - 1):
            talk.send(BytesMessage(data=b"x" * 101, message_finished=False))
        talk.send(BytesMessage(data=b"x" * (1001 if pieces == 1 else 101)))
        assert closes(talk.heard()) == [(1009, "message above 1000 bytes")]
        assert talk.last_told[0] == 1009


def test_the_limit_itself_passes() -> None:
    talk = Talk(gate(limits=Limits(message_bytes=1000)))
    talk.send(BytesMessage(data=b"x" * 1000))
    assert sum(len(body) for _, body, _ in talk.told()) == 1000
