"""Calls from a function, seen from the gateway: whose they are, how deep they go, and callers that do not listen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway_harness import Core, Player, version

from wisp.runtime import frames
from wispd.gateway.hostcalls import DEPTH_MAX, OPEN_MAX, QUEUED_MAX, HostCalls
from wispd.model.function import Published, Version
from wispd.model.invocation import Invocation, Status

CALLER = version(function="caller", id="ver_c")
OTHER = version(function="other", id="ver_o", instances_max=1000)


class Functions:
    """A route table of a few functions, all of one namespace."""

    def __init__(self) -> None:
        self.known: dict[str, Version] = {"caller": CALLER, "other": OTHER}

    def addressed(self, namespace: str, text: str) -> tuple[Published, str] | None:
        name, _, alias = text.partition(":")
        live = self.known.get(name) if namespace == "default" else None
        if live is None:
            return None
        return Published(namespace=namespace, name=name, live=live, enabled=name != "off"), alias or "live"


@pytest.fixture
def core() -> Iterator[Core]:
    core = Core()
    numbers = iter(range(1_000, 2_000))
    core.functions = Functions()  # type: ignore[attr-defined]
    core.dispatcher.hostcalls = HostCalls(
        core.clock, core.functions, flow=core.dispatcher, ids=lambda: bytes(16), numbers=lambda: next(numbers)  # type: ignore[attr-defined]
    )  # fmt: skip
    yield core
    core.close()


def begun(core: Core) -> tuple[Player, Invocation]:
    """A call that runs in the caller's instance."""
    player = core.warm(CALLER)
    invocation, _ = core.call(CALLER)
    assert player.read_invoke()
    return player, invocation


def call(player: Player, name: str, number: int = 1, *, body: bytes = b"") -> None:
    head = name.encode() + b"\nPOST / -\r\n"
    player.send(
        frames.pack(frames.CALL, number | frames.OWN_CALL, meta=frames.OPERATION_INVOKE, head=head, body=body)
    )


def reply(player: Player) -> frames.Frame:
    while (frame := player.read()) is not None:
        if frame.type == frames.REPLY:
            return frame
    raise AssertionError("there is no reply")


def test_a_call_runs_in_the_callers_namespace_with_its_deadline(core: Core) -> None:
    player, parent = begun(core)
    call(player, "other", body=b"hi")
    core.loop.poll()
    other = core.engine.grant()
    other.ready()
    core.loop.poll()
    frame = other.read_invoke()
    assert frame
    deadline_ns, _, _, _, depth = frames.INVOKE_HEAD.unpack_from(frame.head)
    assert (frame.body, depth) == (b"hi", 1)
    assert deadline_ns <= parent.deadline_ns
    other.answer(frame.call, body=b"there", block=b"content-type: text/plain\r\n")
    core.loop.poll()
    got = reply(player)
    assert (got.meta, got.body, got.call) == (200, b"there", 1 | frames.OWN_CALL)


@pytest.mark.parametrize(("name", "code"), [("missing", b"not_found"), ("off", b"disabled")])
def test_what_cannot_be_called_is_said(core: Core, name: str, code: bytes) -> None:
    core.functions.known["off"] = OTHER  # type: ignore[attr-defined]
    player, _ = begun(core)
    call(player, name)
    core.loop.poll()
    got = reply(player)
    assert got.flags & frames.ERROR
    assert got.head.startswith(code + b"\n")


def test_calls_that_call_themselves_end(core: Core) -> None:
    player, parent = begun(core)
    parent.depth = DEPTH_MAX
    call(player, "caller")
    core.loop.poll()
    assert reply(player).head.startswith(b"loop_detected\n")


def test_open_calls_of_one_instance_are_bounded(core: Core) -> None:
    player, _ = begun(core)
    for number in range(OPEN_MAX + 1):
        call(player, "other", number)
    core.loop.poll()
    got = reply(player)
    assert got.head.startswith(b"throttled\n")
    assert got.call == OPEN_MAX | frames.OWN_CALL


def test_a_caller_that_does_not_read_makes_the_answer_wait_and_not_the_gateway_grow(core: Core) -> None:
    player, _ = begun(core)
    call(player, "other")
    core.loop.poll()
    other = core.engine.grant()
    other.ready()
    core.loop.poll()
    frame = other.read_invoke()
    assert frame
    other.answer(frame.call, flags=frames.MORE)
    sent = 0
    piece = frames.pack(frames.BODY, frame.call, flags=frames.MORE, body=bytes(frames.BODY_MAX))
    for _ in range(1_000):  # an answer without end
        try:
            other.send(piece)
        except BlockingIOError:
            break
        sent += 1
        core.loop.poll()
    assert sent < 100, "nothing holds the answering instance back"
    channel = core.dispatcher.pools["ver_c"].roster.channels[player.number]
    assert channel.link.queued <= 2 * QUEUED_MAX + 2
    received = 0
    for _ in range(1_000):  # the caller reads at last: everything that was sent arrives
        core.loop.poll()
        while (got := player.read()) is not None:
            received += len(got.body) == frames.BODY_MAX
        if received == sent:
            break
    assert received == sent


def test_an_answer_is_not_held_up_by_a_caller_that_is_gone(core: Core) -> None:
    player, _ = begun(core)
    call(player, "other")
    core.loop.poll()
    other = core.engine.grant()
    other.ready()
    core.loop.poll()
    frame = other.read_invoke()
    assert frame
    other.answer(frame.call, flags=frames.MORE)
    piece = frames.pack(frames.BODY, frame.call, flags=frames.MORE, body=bytes(frames.BODY_MAX))
    for _ in range(100):
        try:
            other.send(piece)
        except BlockingIOError:
            break
        core.loop.poll()
    core.engine.bury(player.number)
    core.loop.poll()
    other.send(frames.pack(frames.BODY, frame.call))
    core.loop.poll()
    assert [one.status for one in core.observer.done if one.version is OTHER] == [Status.OK]
