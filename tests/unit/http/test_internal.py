"""The Unix socket's application: control's way in."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from http_harness import Bench, Calls, block_of, body_of, header, published, status, version

from wisp.runtime import frames
from wispd.api.door import BodyBudget
from wispd.api.internal import InternalDoor, Told, TrialDone
from wispd.api.invocations import InvocationMaker
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault
from wispd.base.ids import id_source
from wispd.gateway.opening import Ready
from wispd.gateway.router import RouteTable
from wispd.model.entry import Entry
from wispd.model.function import Version
from wispd.model.invocation import Invocation, Status, Trigger
from wispd.model.published import encode


class Operations:
    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.drained = 0
        self.asked: list[tuple[str, int, Told]] = []
        self.trials: list[tuple[Version, TrialDone]] = []

    def snapshot(self) -> bytes:
        return b'{"counters":{}}'

    def trial(self, version: Version, done: TrialDone) -> None:
        self.trials.append((version, done))

    def status(self) -> dict[str, Any]:
        return {"functions": []}

    def published(self, offset: int) -> int:
        self.offsets.append(offset)
        return offset + 1

    def drain(self) -> None:
        self.drained += 1

    def calls(self, namespace: str, after: int, told: Told) -> None:
        self.asked.append((namespace, after, told))


class Inside(Bench):
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.calls = Calls()
        self.operations = Operations()
        self.table = RouteTable()
        for entry in (published(access="private"), published("off", enabled=False), published("t", namespace="acme")):
            self.table.apply(entry, encode(entry))
        maker = InvocationMaker(self.clock, ids=id_source(self.clock), numbers=itertools.count(1).__next__)
        door = InternalDoor(
            self.calls, maker, BodyBudget(1 << 20), table=self.table, operations=self.operations, body_limit=1_000
        )
        super().__init__(door)

    def request(self, target: str, *, method: str = "GET", body: bytes = b"") -> bytes:
        head = f"{method} {target} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n"
        wire = self.connect("")
        return self.send(wire, head.encode() + body)


@pytest.fixture
def inside() -> Inside:
    return Inside()


@pytest.mark.parametrize(
    ("target", "seen", "mount"),
    [
        ("/_wisp/invoke/default/hello", b"/fn/hello", 9),
        ("/_wisp/invoke/default/hello?a=/b/c", b"/fn/hello?a=/b/c", 9),
        ("/_wisp/invoke/default/Hello/x/y?q", b"/fn/Hello/x/y?q", 9),
        ("/_wisp/invoke/acme/t/", b"/fn/t/", 5),
    ],
)
def test_invoke_hides_its_own_prefix(inside: Inside, target: str, seen: bytes, mount: int) -> None:
    answer = inside.request(target, method="POST", body=b"abc")
    (invocation,) = inside.calls.invocations
    frame = frames.parse(invocation.frame)
    assert block_of(invocation)[0] == b"POST %b -" % seen
    assert frames.INVOKE_HEAD.unpack_from(frame.head)[3] == mount
    assert frame.body == b"abc"
    assert invocation.trigger is Trigger.ADMIN
    assert status(answer) == 200


def test_answer_says_how_it_went(inside: Inside) -> None:
    def submit(invocation: Invocation) -> None:
        invocation.status, invocation.cold = Status.OK, True
        invocation.finished_ns, invocation.run_ns, invocation.billed_ns = 1, 1_234_567, 1_200_001
        invocation.sink.head(invocation, 201, b"X: y\r\n", b"", False)

    inside.calls.submit = submit  # type: ignore[method-assign]
    answer = inside.request("/_wisp/invoke/default/hello")
    assert status(answer) == 201
    names = ("Wisp-Status", "Wisp-Cold", "Wisp-Run-Ms", "Wisp-Billed-Ms", "X")
    assert [header(answer, name) for name in names] == ["ok", "1", "1.235", "2", "y"]


def test_fault_says_how_it_went(inside: Inside) -> None:
    def submit(invocation: Invocation) -> None:
        invocation.status, invocation.finished_ns = Status.TIMEOUT, 1
        invocation.sink.fault(invocation, Fault("timeout", "too long"))

    inside.calls.submit = submit  # type: ignore[method-assign]
    answer = inside.request("/_wisp/invoke/default/hello")
    assert (status(answer), header(answer, "Wisp-Status")) == (504, "timeout")


@pytest.mark.parametrize(
    ("method", "target", "body", "code"),
    [
        ("GET", "/_wisp/invoke/default/nobody", b"", 404),
        ("GET", "/_wisp/invoke/acme/hello", b"", 404),
        ("GET", "/_wisp/invoke/default", b"", 404),
        ("GET", "/_wisp/invoke/default/off", b"", 409),
        ("POST", "/_wisp/invoke/default/hello", b"x" * 1_001, 413),
        ("GET", "/_wisp/nothing", b"", 404),
        ("GET", "/fn/hello", b"", 404),
        ("GET", "/_wisp/drain", b"", 405),
        ("POST", "/_wisp/published", b"", 400),
        ("POST", "/_wisp/published", b'{"offset":"x"}', 400),
    ],
)
def test_refusals(inside: Inside, method: str, target: str, body: bytes, code: int) -> None:
    assert status(inside.request(target, method=method, body=body)) == code
    assert inside.calls.invocations == []
    assert inside.operations.drained == 0


def test_operations(inside: Inside) -> None:
    assert json.loads(body_of(inside.request("/_wisp/metrics"))) == {"counters": {}}
    assert json.loads(body_of(inside.request("/_wisp/status"))) == {"functions": []}
    published_ = inside.request("/_wisp/published", method="POST", body=b'{"offset":41}')
    assert json.loads(body_of(published_)) == {"offset": 42}
    inside.request("/_wisp/drain", method="POST")
    assert (inside.operations.offsets, inside.operations.drained) == ([41], 1)


def test_trial_answers_once_it_is_over(inside: Inside) -> None:
    body = msgspec.json.encode(version("new"))
    for fault, code in ((None, 200), (Fault("init_failed", "no module"), 502)):
        wire = inside.connect("")
        inside.send(wire, b"POST /_wisp/trial HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        tried, done = inside.operations.trials.pop()
        assert (tried.function, wire.out) == ("new", b"")
        ready = Ready("app", 1, (Entry(kind="every", name="sweep", schedule="5m"),)) if fault is None else None
        done(ready, fault, 1_500_000)
        done(ready, fault, 1_500_000)  # a second word is not heard
        assert status(wire.out) == code
        if fault is None:
            assert json.loads(body_of(bytes(wire.out))) == {
                "dialect": "app",
                "init_ms": 1.5,
                "entries": [{"kind": "every", "name": "sweep", "schedule": "5m"}],
            }


def test_trial_of_a_client_that_left_is_not_answered(inside: Inside) -> None:
    body = msgspec.json.encode(version("new"))
    wire = inside.connect("")
    inside.send(wire, b"POST /_wisp/trial HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    inside.hang_up(wire)
    inside.operations.trials[0][1](Ready("native"), None, 1)
    assert wire.out == b""


def test_calls_are_told_when_there_are_any_and_to_nobody_who_left(inside: Inside) -> None:
    wire = inside.connect("")
    inside.send(wire, b"GET /_wisp/calls?namespace=acme&after=7 HTTP/1.1\r\nHost: g\r\n\r\n")
    ((namespace, after, told),) = inside.operations.asked
    assert (namespace, after, wire.out) == ("acme", 7, b"")
    told([{"kind": "call"}], 9)
    assert json.loads(body_of(bytes(wire.out))) == {"items": [{"kind": "call"}], "next": 9}
    left = inside.connect("")
    inside.send(left, b"GET /_wisp/calls HTTP/1.1\r\nHost: g\r\n\r\n")
    namespace, after, told = inside.operations.asked[-1]
    assert (namespace, after) == ("", -1)
    inside.hang_up(left)
    told([], 1)
    assert left.out == b""
