"""Calls are told as they end, to those who ask, and nothing is kept for nobody."""

from __future__ import annotations

from typing import Any

import pytest
from recorded import version

from wisp.runtime import frames
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault
from wispd.model.function import Version
from wispd.model.invocation import Invocation, Status
from wispd.observe.live import EVENTS_MAX, TEXT_MAX, WAIT_S, WATCHED_S, WATCHERS_MAX, LiveCalls, request_line


class Behind:
    """The observer that records."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def finished(self, invocation: Invocation) -> None:
        self.heard.append("finished")

    def refused(self, namespace: str, function: str, code: str) -> None:
        self.heard.append("refused")

    def cold_started(self, version: Version, start_ns: int, init_ns: int, pooled: bool) -> None:
        self.heard.append("cold_started")

    def instance_log(self, version: Version, instance: int, text: bytes) -> None:
        self.heard.append("instance_log")

    def invocation_log(self, invocation_id: bytes, version: Version, text: bytes) -> None:
        self.heard.append("invocation_log")


class Watch:
    def __init__(self) -> None:
        self.behind, self.clock = Behind(), VirtualClock()
        self.live = LiveCalls(self.behind, self.clock)
        self.told: list[tuple[list[dict[str, Any]], int]] = []

    def ask(self, after: int, namespace: str = "default") -> bool:
        return self.live.ask(namespace, after, lambda events, number: self.told.append((events, number)))


def invoke_frame(line: bytes, *, mount: int = 0, flags: int = frames.HTTP) -> bytes:
    head = frames.INVOKE_HEAD.pack(0, 0, bytes(16), mount, 0) + line + b" -\r\nhost: x\r\n"
    return frames.pack(frames.INVOKE, 1, flags=flags, head=head)


def ended(frame: bytes = b"", *, of: Version | None = None, **fields: Any) -> Invocation:
    one = Invocation(
        1,
        bytes(16),
        of or version(),
        None,
        received_ns=0,
        received_us=7,
        deadline_ns=0,
        frame=frame,  # type: ignore[arg-type]
    )
    one.status, one.http_status, one.finished_ns, one.run_ns, one.billed_ns = Status.OK, 200, 3_000_000, 1_000_000, 1
    for name, value in fields.items():
        setattr(one, name, value)
    return one


def test_the_first_question_says_where_now_is_and_the_next_one_waits() -> None:
    watch = Watch()
    assert not watch.live.watched
    watch.ask(-1)
    assert watch.told == [([], 0)]
    assert watch.live.watched
    watch.ask(0)
    assert len(watch.told) == 1
    watch.live.finished(ended(invoke_frame(b"GET /fn/hello/a?key=secret", mount=9), log=b"said\n"))
    (event,), number = watch.told[1]
    assert number == 1
    shown = {key: event[key] for key in ("method", "path", "status", "billed_ms", "elapsed_ms", "log", "error")}
    assert shown == {
        "method": "GET",
        "path": "/a",
        "status": "ok",
        "billed_ms": 1,
        "elapsed_ms": 3.0,
        "log": "said\n",
        "error": None,
    }
    assert "secret" not in str(event)
    assert watch.behind.heard == ["finished"]


def test_what_came_between_two_questions_is_told_at_once() -> None:
    watch = Watch()
    watch.ask(-1)
    for _ in range(3):
        watch.live.finished(ended())
    watch.ask(1)
    events, number = watch.told[1]
    assert (len(events), number) == (2, 3)


def test_other_namespaces_are_not_told() -> None:
    watch = Watch()
    watch.ask(0, "acme")
    watch.live.finished(ended())
    assert watch.told == []
    watch.live.finished(ended(of=version(namespace="acme")))
    assert [event["function"] for event in watch.told[0][0]] == ["hello"]
    watch.ask(0, "other")
    assert len(watch.told) == 1


def test_errors_logs_and_refusals_are_told_within_bounds() -> None:
    watch = Watch()
    watch.ask(-1)
    fault = Fault("function_error", "m" * 100_000)
    watch.live.finished(ended(status=Status.ERROR, http_status=0, error=fault, trace=b"t" * 100_000))
    watch.live.invocation_log(bytes(16), version(), b"early \xff\n")
    watch.live.instance_log(version(), 1, b"import\n")
    watch.live.refused("default", "hello", "throttled")
    watch.live.refused("", "", "not_found")
    watch.ask(0)
    failed, early, imported, refused = watch.told[1][0]
    assert (failed["http_status"], len(failed["traceback"])) == (502, TEXT_MAX)
    assert len(failed["error"]["message"]) == TEXT_MAX
    assert early["text"] == "early \ufffd\n"
    assert imported["invocation_id"] == ""
    assert refused == {"kind": "refused", "function": "hello", "code": "throttled"}
    assert watch.behind.heard == ["finished", "invocation_log", "instance_log", "refused", "refused"]


def test_waiting_and_keeping_are_bounded() -> None:
    watch = Watch()
    assert all(watch.ask(0) for _ in range(WATCHERS_MAX))
    assert not watch.ask(0)
    watch.clock.advance(WAIT_S)
    watch.live.tick()
    assert watch.told == [([], 0)] * WATCHERS_MAX
    for _ in range(EVENTS_MAX + 5):
        watch.live.finished(ended())
    watch.ask(0)
    events, number = watch.told[-1]
    assert (len(events), number) == (EVENTS_MAX, EVENTS_MAX + 5)


def test_nobody_asks_nothing_is_kept() -> None:
    watch = Watch()
    watch.ask(-1)
    watch.live.finished(ended())
    watch.clock.advance(WATCHED_S + 1)
    watch.live.tick()
    assert not watch.live.watched
    assert not watch.live._events


def test_numbers_of_another_process_start_anew() -> None:
    watch = Watch()
    watch.ask(900)
    assert watch.told == [([], 0)]


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (b"", ("", "")),
        (invoke_frame(b"POST /"), ("POST", "/")),
        (invoke_frame(b"GET /fn/hello", mount=9), ("GET", "/")),
        (invoke_frame(b"GET /x" + b"y" * 5_000)[:900], ("GET", "/x" + "y" * 506)),
        (invoke_frame(b"CE", flags=0), ("", "")),
    ],
)
def test_the_request_line_is_read_from_the_frame(frame: bytes, shown: tuple[str, str]) -> None:
    method, path = request_line(frame)
    assert (method, path[: len(shown[1])]) == shown
