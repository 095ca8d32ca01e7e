"""The server's exchange with one client: framing, order, pressure, deadlines."""

from __future__ import annotations

import pytest
from http_harness import Bench, Recorder, body_of, call, header, later, status, statuses

from wispd.base.errors import Fault
from wispd.gateway.http1_application import Exchange
from wispd.gateway.http1_limits import BUFFERED_MAX

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_answer_is_framed_and_the_connection_stays(bench: Bench) -> None:
    wire = bench.talk(GET)
    assert wire.out.startswith(b"HTTP/1.1 200 OK\r\n")
    assert header(wire.out, "Content-Length") == "2"
    assert header(wire.out, "Date") == "Sun, 15 Jun 2025 15:06:40 GMT"
    assert body_of(wire.out) == b"ok"
    bench.send(wire, GET)
    assert statuses(wire.out) == [200, 200]
    assert not wire.over


def test_pipelined_requests_are_answered_in_order(bench: Bench) -> None:
    bench.application.respond = lambda exchange, body: exchange.answer(200, b"", exchange.request.target)
    wire = bench.talk(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(100)))
    assert [part.partition(b"HTTP")[0] for part in bytes(wire.out).split(b"\r\n\r\n")[1:]] == [
        b"/%d" % number for number in range(100)
    ]


def test_pipelined_request_waits_for_the_answer_before_it(bench: Bench) -> None:
    later(bench)
    wire = bench.talk(GET + GET)
    assert len(bench.application.requests) == 1
    bench.application.exchange.answer(200, b"", b"first")
    assert len(bench.application.requests) == 2
    bench.application.exchange.answer(204, b"", b"")
    assert statuses(wire.out) == [200, 204]


def test_reading_is_paused_behind_a_long_pipeline(bench: Bench) -> None:
    later(bench)
    wire = bench.talk(GET + GET * (BUFFERED_MAX // len(GET) + 2))
    assert not wire.reading
    bench.application.respond = lambda exchange, body: exchange.answer(200, b"", b"")
    bench.application.exchange.answer(200, b"", b"")
    while bench.loop.turn():
        pass
    assert wire.reading
    assert len(statuses(wire.out)) == BUFFERED_MAX // len(GET) + 3


def test_clogged_client_gets_no_further_answers(bench: Bench) -> None:
    bench.application.respond = lambda exchange, body: exchange.answer(200, b"", b"x" * 30_000)
    wire = bench.connect()
    wire.stalled = True
    bench.send(wire, GET * 20)
    assert len(bench.application.requests) == 3
    wire.stalled = False
    wire.read(100_000)
    while bench.loop.turn():
        pass
    assert len(bench.application.requests) == 20


@pytest.mark.parametrize("size", [1, 5, 70_000])
def test_body_by_length(bench: Bench, size: int) -> None:
    body = b"b" * size
    wire = bench.talk(POST % size + body + GET)
    assert bench.application.requests == [(b"POST", b"/a", body), (b"GET", b"/a", b"")]
    assert statuses(wire.out) == [200, 200]
    assert bench.application.budget.used_bytes == 0


def test_chunked_body_and_trailers(bench: Bench) -> None:
    bench.talk(CHUNKED + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n" + GET)
    assert bench.application.requests == [(b"POST", b"/a", b"abc0123456789"), (b"GET", b"/a", b"")]


def test_too_long_a_body_is_refused_on_its_length(bench: Bench) -> None:
    bench.application.limit = 10
    wire = bench.talk(POST % 11)
    assert status(wire.out) == 413
    assert header(wire.out, "Connection") == "close"
    assert wire.half_closed
    assert bench.send(wire, b"x" * 11) == wire.out  # dropped
    assert bench.application.requests == []


def test_too_long_a_chunked_body_is_refused_when_it_gets_there(bench: Bench) -> None:
    bench.application.limit = 10
    wire = bench.talk(CHUNKED + b"A\r\n0123456789\r\n")
    assert wire.out == b""
    bench.send(wire, b"1\r\n")
    assert wire.out == b""
    bench.send(wire, b"x")
    assert status(wire.out) == 413
    assert bench.application.budget.used_bytes == 0


def test_body_over_the_common_budget_is_refused(bench: Bench) -> None:
    bench.application.budget.limit_bytes = 100
    first = bench.talk(POST % 80 + b"x" * 79)
    second = bench.talk(POST % 80 + b"x" * 79)
    assert (first.out, status(second.out)) == (b"", 503)
    bench.hang_up(first)
    assert bench.application.budget.used_bytes == 0


def test_continue_is_said_once_the_body_is_wanted(bench: Bench) -> None:
    expecting = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    wire = bench.talk(expecting % 2)
    assert wire.out == b"HTTP/1.1 100 Continue\r\n\r\n"
    bench.send(wire, b"ab")
    assert statuses(wire.out) == [100, 200]
    bench.application.limit = 1
    wire = bench.talk(expecting % 2)
    assert statuses(wire.out) == [413]
    wire = bench.talk(GET.replace(b"\r\n\r\n", b"\r\nExpect: 200-ok\r\n\r\n"))
    assert status(wire.out) == 417


def test_no_continue_when_the_body_is_here_already(bench: Bench) -> None:
    wire = bench.talk(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") % 2 + b"ab")
    assert statuses(wire.out) == [200]


def test_streamed_body_stops_and_goes_on(bench: Bench) -> None:
    recorder: Recorder = bench.application
    recorder.streamed = True
    recorder.willing = False
    wire = bench.talk(POST % 9)
    invocation = call(recorder.exchange)
    bench.send(wire, b"abc")
    assert (recorder.notes, wire.reading) == (["part 3"], False)
    recorder.exchange.want_body(invocation)
    assert wire.reading
    bench.send(wire, b"defghi" + GET)
    assert recorder.requests[0] == (b"POST", b"/a", b"abcdefghi")
    assert len(recorder.requests) == 2  # reading is not left paused by the last part
    assert wire.reading


def test_answer_before_the_end_of_a_streamed_body_closes(bench: Bench) -> None:
    bench.application.streamed = True
    wire = bench.talk(POST % 9 + b"abc")
    bench.application.exchange.answer(200, b"", b"enough")
    assert header(wire.out, "Connection") == "close"
    assert wire.half_closed
    bench.wait(3)
    assert wire.closed


def stream_answer(exchange: Exchange, body: bytes) -> None:
    invocation = call(exchange)
    exchange.head(invocation, 200, b"", b"one", True)
    exchange.chunk(invocation, b"", True)
    exchange.chunk(invocation, b"two", True)
    exchange.chunk(invocation, b"", False)


def test_streamed_answer_is_chunked(bench: Bench) -> None:
    bench.application.respond = stream_answer
    wire = bench.talk(GET + GET)
    assert header(wire.out, "Transfer-Encoding") == "chunked"
    assert header(wire.out, "Content-Length") is None
    assert wire.out.count(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n") == 2


def test_streamed_answer_to_http_1_0_ends_with_the_connection(bench: Bench) -> None:
    bench.application.respond = stream_answer
    wire = bench.talk(b"GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
    assert header(wire.out, "Connection") == "close"
    assert header(wire.out, "Transfer-Encoding") is None
    assert body_of(wire.out) == b"onetwo"
    assert wire.closed


def test_http_1_0_closes_unless_asked_not_to(bench: Bench) -> None:
    assert bench.talk(b"GET /a HTTP/1.0\r\n\r\n").closed
    kept = bench.talk(b"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
    assert not kept.over
    assert header(kept.out, "Connection") == "keep-alive"


def test_connection_close_is_obeyed(bench: Bench) -> None:
    wire = bench.talk(GET.replace(b"\r\n\r\n", b"\r\nConnection: foo, Close\r\n\r\n"))
    assert header(wire.out, "Connection") == "close"
    assert wire.closed


def test_head_has_the_length_but_no_body(bench: Bench) -> None:
    wire = bench.talk(GET.replace(b"GET", b"HEAD") + GET)
    first, _, rest = bytes(wire.out).partition(b"\r\n\r\n")
    assert b"Content-Length: 2" in first
    assert rest.startswith(b"HTTP/1.1 200")


def test_head_of_a_streamed_answer_has_no_body(bench: Bench) -> None:
    bench.application.respond = stream_answer
    wire = bench.talk(GET.replace(b"GET", b"HEAD") + GET)
    assert body_of(wire.out).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("code", [204, 304])
@pytest.mark.parametrize("more", [False, True])
def test_bodiless_statuses_have_no_body(bench: Bench, code: int, more: bool) -> None:
    def respond(exchange: Exchange, body: bytes) -> None:
        invocation = call(exchange)
        exchange.head(invocation, code, b"", b"not to be sent", more)
        if more:
            exchange.chunk(invocation, b"nor this", False)

    bench.application.respond = respond
    wire = bench.talk(GET + GET)
    assert statuses(wire.out) == [code, code]
    assert b"not to be" not in wire.out
    assert b"nor this" not in wire.out
    assert header(wire.out, "Content-Length") is None
    assert header(wire.out, "Transfer-Encoding") is None


def test_answer_that_breaks_off_lacks_its_last_chunk(bench: Bench) -> None:
    def respond(exchange: Exchange, body: bytes) -> None:
        invocation = call(exchange)
        exchange.head(invocation, 200, b"", b"one", True)
        exchange.fault(invocation, Fault("instance_lost", "gone"))

    bench.application.respond = respond
    wire = bench.talk(GET)
    assert wire.out.endswith(b"3\r\none\r\n")
    assert wire.closed
    wire = bench.talk(b"GET /a HTTP/1.0\r\n\r\n")
    assert wire.aborted  # a plain close would look like the body's end


def test_answers_of_another_invocation_are_ignored(bench: Bench) -> None:
    later(bench)
    wire = bench.talk(GET)
    exchange = bench.application.exchange
    stale = call(exchange)
    call(exchange)
    exchange.head(stale, 200, b"", b"stale", False)
    exchange.fault(stale, Fault("timeout", "stale"))
    exchange.chunk(stale, b"stale", False)
    assert wire.out == b""


def test_slow_reader_pauses_the_answer(bench: Bench) -> None:
    later(bench)
    wire = bench.talk(GET)
    wire.stalled = True
    invocation = call(bench.application.exchange)
    bench.application.exchange.head(invocation, 200, b"", b"x" * 70_000, True)
    wire.read(200_000)
    assert bench.application.notes == ["paused", "resumed"]


@pytest.mark.parametrize("started", [False, True])
def test_client_that_leaves_is_told_to_the_application_once(bench: Bench, started: bool) -> None:
    later(bench)
    wire = bench.talk(GET)
    invocation = call(bench.application.exchange)
    if started:
        bench.application.exchange.head(invocation, 200, b"", b"x", True)
    bench.hang_up(wire)
    assert bench.application.notes == ["gone"]
    before = bytes(wire.out)
    bench.application.exchange.chunk(invocation, b"x", False)
    bench.application.exchange.answer(200, b"", b"x")
    assert wire.out == before
    assert bench.server.statistics().connections == 0


def test_client_that_leaves_in_its_body_is_told(bench: Bench) -> None:
    wire = bench.talk(POST % 10 + b"x")
    bench.hang_up(wire)
    assert bench.application.notes == ["gone"]
    assert bench.application.budget.used_bytes == 0


def test_bad_chunk_in_a_running_stream_cancels_and_is_answered(bench: Bench) -> None:
    bench.application.streamed = True
    wire = bench.talk(CHUNKED + b"1\r\nx\r\n")
    call(bench.application.exchange)
    bench.send(wire, b"zz\r\n")
    assert bench.application.notes == ["part 1", "gone"]
    assert status(wire.out) == 400
