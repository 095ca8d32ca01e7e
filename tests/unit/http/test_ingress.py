"""The public door: what is passed on, what is refused, how bodies travel."""

from __future__ import annotations

import json

import pytest
from http_harness import Gate, block_of, body_of, header, published, status, statuses

from wisp.runtime import frames
from wispd.base.errors import Fault
from wispd.model.function import Route
from wispd.model.invocation import Trigger
from wispd.model.published import Withdrawn


def test_request_becomes_an_invocation() -> None:
    gate = Gate(published(timeout_s=3.0))
    answer = gate.request("/fn/hello/a?b=1", "X-A: 1", method="DELETE")
    (invocation,) = gate.calls.invocations
    frame = frames.parse(invocation.frame)
    deadline, received_us, id_, mount, depth = frames.INVOKE_HEAD.unpack_from(frame.head)
    assert (frame.type, frame.flags, frame.call) == (frames.INVOKE, frames.HTTP, invocation.number)
    assert (mount, depth, id_) == (len("/fn/hello"), 0, invocation.id)
    assert deadline == invocation.deadline_ns == invocation.received_ns + 3_000_000_000
    assert received_us == invocation.received_us == gate.clock.unix_ns() // 1000
    line, headers = block_of(invocation)
    assert line == b"DELETE /fn/hello/a?b=1 127.0.0.1"
    assert headers.pop(b"traceparent") == b"00-%b-%b-01" % (id_.hex().encode(), id_.hex()[16:].encode())
    assert headers == {b"host": b"localhost:8080", b"x-a": b"1"}
    assert invocation.trigger is Trigger.HTTP
    assert (status(answer), body_of(answer)) == (200, b"ok")
    assert header(answer, "Wisp-Invocation-Id") == f"inv_{id_.hex()}"


def test_traceparent_is_passed_on() -> None:
    gate = Gate(published())
    given = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    gate.request("/fn/hello", f"traceparent: {given}")
    assert block_of(gate.calls.invocations[0])[1][b"traceparent"] == given.encode()


def test_ids_differ_and_numbers_too_for_the_same_bytes() -> None:
    gate = Gate(published())
    for _ in range(3):
        gate.request("/fn/hello")
    assert len({invocation.id for invocation in gate.calls.invocations}) == 3
    assert len({invocation.number for invocation in gate.calls.invocations}) == 3


@pytest.mark.parametrize("size", [0, 1, frames.BODY_MAX, frames.BODY_MAX + 1, 3 * frames.BODY_MAX])
def test_body_is_cut_into_frames(size: int) -> None:
    gate = Gate(published())
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    gate.talk(b"POST /fn/hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size + body)
    (invocation,) = gate.calls.invocations
    packets = [frames.parse(packet) for packet in [invocation.frame, *(invocation.rest or [])]]
    assert b"".join(packet.body for packet in packets) == body
    assert [bool(packet.flags & frames.MORE) for packet in packets] == [True] * (len(packets) - 1) + [False]
    assert {packet.call for packet in packets} == {invocation.number}
    assert (invocation.bytes_in, invocation.body_done) == (size, True)
    assert gate.budget.used_bytes == 0


def test_collected_chunked_body_gets_its_length() -> None:
    gate = Gate(published())
    gate.talk(
        b"POST /fn/hello HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    headers = block_of(gate.calls.invocations[0])[1]
    assert headers[b"content-length"] == b"3"
    assert b"transfer-encoding" not in headers


STREAM = b"POST /fn/hello HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_streaming_version_is_invoked_at_the_head() -> None:
    gate = Gate(published(dialect="asgi"))
    wire = gate.talk(STREAM)
    (invocation,) = gate.calls.invocations
    assert frames.parse(invocation.frame).flags & frames.MORE
    assert not invocation.body_done
    gate.calls.willing = False
    gate.send(wire, b"3\r\nabc\r\n")
    assert not wire.reading
    invocation.sink.want_body(invocation)
    assert wire.reading
    gate.send(wire, b"0\r\n\r\n")
    assert gate.calls.fed == [(b"abc", True), (b"", False)]
    assert invocation.bytes_in == 3


def test_small_body_of_a_streaming_version_goes_in_one_frame() -> None:
    gate = Gate(published(dialect="asgi"))
    gate.talk(b"POST /fn/hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
    assert frames.parse(gate.calls.invocations[0].frame).body == b"abc"
    assert gate.calls.fed == []


def test_stream_that_is_refused_at_once_is_not_fed() -> None:
    gate = Gate(published(dialect="asgi"))
    gate.calls.submit = lambda invocation: invocation.sink.fault(invocation, Fault("throttled", "full"))  # type: ignore[method-assign]
    wire = gate.talk(STREAM + b"3\r\nabc\r\n0\r\n\r\n")
    assert statuses(wire.out) == [429]
    assert header(wire.out, "Retry-After") == "1"
    assert gate.calls.fed == []
    assert wire.half_closed


def test_body_limit_counts_before_anything_is_invoked() -> None:
    gate = Gate(published(), body_limit=10)
    wire = gate.talk(b"POST /fn/hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n")
    problem = json.loads(body_of(bytes(wire.out)))
    assert (problem["code"], problem["detail"]) == ("payload_too_large", "body is 11 bytes, limit 10")
    assert gate.calls.invocations == []


def test_disconnect_cancels() -> None:
    gate = Gate(published())
    gate.calls.keep = True
    wire = gate.talk(b"GET /fn/hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
    gate.hang_up(wire)
    assert gate.calls.cancelled == gate.calls.invocations


def test_slow_client_pauses_the_invocation() -> None:
    gate = Gate(published())
    gate.calls.keep = True
    wire = gate.talk(b"GET /fn/hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wire.stalled = True
    (invocation,) = gate.calls.invocations
    invocation.sink.head(invocation, 200, b"", b"x" * 100_000, True)
    wire.read(100_000)
    assert gate.calls.notes == ["pause", "resume"]


def test_fault_is_a_problem_document() -> None:
    gate = Gate(published())
    gate.calls.keep = True
    wire = gate.talk(b"GET /fn/hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
    (invocation,) = gate.calls.invocations
    invocation.sink.fault(invocation, Fault("no_capacity", "memory is used up", retry_after_s=2.3, limit_bytes=5))
    assert header(wire.out, "Content-Type") == "application/problem+json"
    assert header(wire.out, "Retry-After") == "3"
    assert json.loads(body_of(bytes(wire.out))) == {
        "type": "docs/errors/no_capacity.md",
        "title": "No capacity",
        "status": 503,
        "detail": "memory is used up",
        "code": "no_capacity",
        "invocation_id": f"inv_{invocation.id.hex()}",
        "retryable": True,
        "limit_bytes": 5,
    }
    assert header(wire.out, "Wisp-Invocation-Id") == f"inv_{invocation.id.hex()}"


@pytest.mark.parametrize(
    ("target", "code", "name"),
    [
        ("/fn", 404, "not_found"),
        ("/fn/", 404, "not_found"),
        ("/fn/nobody", 404, "not_found"),
        ("/fn/%68ello", 404, "not_found"),
        ("//fn/hello", 404, "not_found"),
        ("/_wisp/status", 404, "not_found"),
        ("/_wisp", 404, "not_found"),
        ("/events", 404, "not_found"),
        ("/async/hello", 501, "not_implemented"),
    ],
)
def test_nothing_is_here(target: str, code: int, name: str) -> None:
    gate = Gate(published())
    answer = gate.request(target)
    assert status(answer) == code
    problem = json.loads(body_of(answer))
    assert problem["code"] == name
    assert header(answer, "Wisp-Invocation-Id") == problem["invocation_id"]
    assert gate.observer.codes == [("", "", name)]


def test_internal_paths_are_hidden_on_function_hosts_too() -> None:
    gate = Gate(published())
    assert status(gate.request("/_wisp/status", host="hello.localhost")) == 404
    assert status(gate.request("/events", host="hello.localhost")) == 200


def test_respond_async_is_not_there_yet() -> None:
    gate = Gate(published())
    assert status(gate.request("/fn/hello", "Prefer: wait=1, respond-async")) == 501


def test_disabled_function_says_so() -> None:
    gate = Gate(published(enabled=False))
    assert [status(gate.request("/fn/hello")) for _ in range(2)] == [409, 409]
    assert gate.observer.codes == [("default", "hello", "disabled")] * 2


def test_wrong_method_names_the_right_ones() -> None:
    gate = Gate(published(routes=(Route("", "GET", "/r"), Route("", "PUT", "/r"))))
    answer = gate.request("/r", method="POST")
    assert (status(answer), header(answer, "Allow")) == (405, "GET, HEAD, PUT")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_trace_and_connect_are_refused(method: str) -> None:
    answer = Gate(published()).request("/fn/hello", method=method)
    assert status(answer) in (400, 405)
    assert header(answer, "Connection") == "close"


def test_decision_is_made_anew_when_the_table_changes() -> None:
    gate = Gate(published())
    assert status(gate.request("/fn/hello")) == 200
    gate.publish(published(enabled=False))
    assert status(gate.request("/fn/hello")) == 409
    gate.publish(published(timeout_s=9.0))
    assert status(gate.request("/fn/hello")) == 200
    assert gate.calls.invocations[-1].version.timeout_s == 9.0
    gate.publish(Withdrawn(namespace="default", name="hello"))
    assert status(gate.request("/fn/hello")) == 404


def test_head_that_fills_more_than_a_frame_is_refused() -> None:
    gate = Gate(published())
    answer = gate.request("/fn/hello?" + "q" * 8_000, "X: " + "h" * 30_000)
    assert status(answer) == 431
    assert gate.calls.invocations == []
