"""Deadlines, limits and draining of the server, on virtual time."""

from __future__ import annotations

import pytest
from http_harness import Bench, call, header, later, status

from wispd.gateway.http1 import Limits

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def bench() -> Bench:
    return Bench()


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_silent_and_half_sent_heads_are_ended(bench: Bench) -> None:
    silent = bench.connect()
    half = bench.talk(b"GET /a HT")
    bench.wait(9.5)
    assert not silent.closed
    assert not half.over
    bench.send(half, b"T")
    bench.wait(2)
    assert silent.closed
    assert silent.out == b""
    assert status(half.out) == 408
    assert half.over


def test_idle_connection_is_kept_for_a_while(bench: Bench) -> None:
    wire = bench.talk(GET)
    bench.wait(74)
    bench.send(wire, GET)
    bench.wait(74)
    assert not wire.over
    bench.wait(3)
    assert wire.closed


def test_slow_body_is_ended_and_a_steady_one_is_not(bench: Bench) -> None:
    slow, steady = bench.talk(POST % 1_000_000), bench.talk(POST % 1_000_000)
    for _ in range(30):
        bench.send(slow, b"x")
        if not steady.over:
            bench.send(steady, b"x" * 1_000)
        bench.wait(1)
    assert status(slow.out) == 408
    assert not steady.over


def test_body_that_the_application_holds_back_is_not_slow(bench: Bench) -> None:
    bench.application.streamed = True
    bench.application.willing = False
    wire = bench.talk(POST % 100 + b"x")
    bench.wait(60)
    assert not wire.over


def test_answer_that_nobody_reads_is_aborted(bench: Bench) -> None:
    later(bench)
    wire = bench.talk(GET)
    wire.stalled = True
    invocation = call(bench.application.exchange)
    bench.application.exchange.head(invocation, 200, b"", b"x" * 70_000, True)
    bench.wait(19)
    assert not wire.over
    bench.wait(5)
    assert wire.aborted


def test_answer_that_is_read_steadily_goes_on(bench: Bench) -> None:
    later(bench)
    wire = bench.talk(GET)
    wire.stalled = True
    invocation = call(bench.application.exchange)
    bench.application.exchange.head(invocation, 200, b"", b"x" * 70_000, True)
    for _ in range(100):
        bench.application.exchange.chunk(invocation, b"x" * 4_000, True)
        wire.read(4_000)
        bench.wait(1)
    assert not wire.over


def test_closed_connection_that_does_not_go_away_is_aborted(bench: Bench) -> None:
    wire = bench.talk(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    bench.wait(3)
    assert wire.aborted


# ── limits, drain ───────────────────────────────────────────────────────────────────────────────────────────


def test_connections_are_bounded() -> None:
    bench = Bench(limits=Limits(connections=2, connections_per_peer=0))
    first, second, third = bench.connect(), bench.connect(), bench.connect()
    assert (first.over, second.over) == (False, False)
    assert status(third.out) == 503
    assert third.closed
    bench.hang_up(third)
    bench.hang_up(first)
    assert not bench.connect().over


def test_connections_of_one_peer_are_bounded() -> None:
    bench = Bench(limits=Limits(connections_per_peer=1))
    first = bench.connect()
    refused = bench.connect()
    assert refused.closed
    assert not bench.connect(("10.0.0.1", 1)).over
    bench.hang_up(refused)
    assert bench.connect().closed
    bench.hang_up(first)
    assert not bench.connect().over


def test_drain_lets_answers_finish_and_refuses_new_requests(bench: Bench) -> None:
    idle = bench.talk(GET)
    later(bench)
    busy = bench.talk(GET)
    bench.server.drain()
    assert idle.closed
    assert bench.server.busy == 1
    new = bench.talk(GET)
    assert status(new.out) == 503
    assert header(new.out, "X-Code") == "draining"
    wire_before = len(bench.application.requests)
    bench.application.exchange.answer(200, b"", b"done")
    assert header(busy.out, "Connection") == "close"
    assert busy.closed
    assert len(bench.application.requests) == wire_before


def test_statistics_count(bench: Bench) -> None:
    wire = bench.talk(GET + GET)
    bench.talk(b"nonsense\r\n\r\n")
    bench.hang_up(wire)
    found = bench.server.statistics()
    assert (found.accepted, found.connections, found.requests, found.refused) == (2, 1, 3, 1)
