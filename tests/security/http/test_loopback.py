"""C2, C3, C7, C9 over real sockets: slow clients, limits, the unusual parts of HTTP. Deadlines are short settings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop
from http_harness import Recorder, status, statuses, version

from wispd.base.clock import SystemClock
from wispd.gateway.http1 import HttpServer, Limits
from wispd.gateway.http1_application import Exchange
from wispd.model.invocation import Invocation

GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
SHORT = Limits(
    head_s=0.3,
    idle_s=0.6,
    body_grace_s=0.3,
    body_rate_per_s=1_000,
    write_grace_s=0.4,
    write_rate_per_s=1_000_000,
    linger_s=0.3,
)
FOREVER = Limits(head_s=600, idle_s=600, body_grace_s=600, write_grace_s=600, linger_s=600)
CLIENTS = 200


class Node:
    """A server on a loopback port, swept as in production but more often."""

    def __init__(self, server: HttpServer, application: Recorder, port: int) -> None:
        self.server = server
        self.application = application
        self.port = port

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> bytes:
        """Send, and read until the server closes."""
        reader, writer = await self.open()
        writer.write(request)
        try:
            return await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def closed_by_server(self, reader: asyncio.StreamReader) -> bytes:
        with contextlib.suppress(ConnectionResetError):
            return await asyncio.wait_for(reader.read(), 20)
        return b""

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(2_000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come to that within 20 s")


@contextlib.asynccontextmanager
async def node(limits: Limits) -> AsyncIterator[Node]:
    application = Recorder()
    server = HttpServer(asyncio.get_running_loop(), SystemClock(), application, limits=limits)
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    await server.listen(listening)

    async def sweep() -> None:
        while True:
            await asyncio.sleep(0.05)
            server.sweep()

    async with asyncio.TaskGroup() as group:
        sweeping = group.create_task(sweep())
        try:
            yield Node(server, application, listening.getsockname()[1])
        finally:
            sweeping.cancel()
            server.close()
            await asyncio.sleep(0.05)


def run(test: Callable[[Node], Awaitable[Any]], limits: Limits = SHORT) -> Any:
    async def main() -> Any:
        async with node(limits) as one:
            return await test(one)

    return uvloop.run(main())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ── C2 ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def silent(one: Node) -> bytes:
    reader, writer = await one.open()
    try:
        return await one.closed_by_server(reader)
    finally:
        writer.close()


async def head_by_drops(one: Node) -> bytes:
    return await drip(one, b"", GET)


async def body_by_drops(one: Node) -> bytes:
    return await drip(one, POST % 100_000, b"x" * 100_000)


async def drip(one: Node, at_once: bytes, slowly: bytes) -> bytes:
    reader, writer = await one.open()
    writer.write(at_once)
    answer = asyncio.ensure_future(one.closed_by_server(reader))
    try:
        for number in range(len(slowly)):
            if answer.done():
                break
            writer.write(slowly[number : number + 1])
            await asyncio.wait([answer], timeout=0.1)
        return await answer
    finally:
        writer.close()


async def slow_reader(one: Node) -> bytes:
    """Ask for 10 MB and take nothing of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", one.port))
    try:
        await loop.sock_sendall(client, GET)
        before = one.server.statistics().expired
        await one.until(lambda: one.server.statistics().expired > before)
    finally:
        client.close()
    return b""


SLOW = {"silent": silent, "head": head_by_drops, "body": body_by_drops, "reader": slow_reader}
SAID = {"silent": [], "head": [408], "body": [408], "reader": []}


def big_answers(exchange: Exchange, body: bytes) -> None:
    exchange.answer(200, b"", b"x" * 10_000_000)


@pytest.mark.parametrize("kind", SLOW)
def test_slow_client_is_ended(kind: str) -> None:
    async def test(one: Node) -> bytes:
        if kind == "reader":
            one.application.respond = big_answers
        answer = await SLOW[kind](one)
        await one.until(lambda: one.server.statistics().connections == 0)
        return answer

    assert statuses(run(test)) == SAID[kind]


@pytest.mark.parametrize("kind", ["silent", "head", "body"])
def test_negative_control_without_deadlines_it_stays(kind: str) -> None:
    async def test(one: Node) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(SLOW[kind](one), 1.5)

    run(test, FOREVER)


def test_crowd_of_slow_clients_does_not_stop_a_good_one_and_leaves_nothing() -> None:
    async def test(one: Node) -> int:
        baseline = descriptors()
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(list(SLOW.values())[number % 3](one))
            for _ in range(20):
                assert status(await one.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) == 200
        await one.until(lambda: one.server.statistics().connections == 0)
        await one.until(lambda: descriptors() <= baseline)
        return one.server.statistics().expired

    assert run(test) == CLIENTS


def test_idle_connection_is_closed_quietly() -> None:
    async def test(one: Node) -> bytes:
        reader, writer = await one.open()
        writer.write(GET)
        answer = await one.closed_by_server(reader)
        writer.close()
        return answer

    assert statuses(run(test)) == [200]


# ── C3 ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET /" + b"u" * 65_536 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /" + b"u" * 8_192 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (GET[:-2] + b"X: y\r\n" * 1_000 + b"\r\n", 431),
        (GET[:-2] + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n", 431),
        (GET[:-2] + b"X: " + b"y" * 1_000_000, 431),
        (POST % 1_000_001 + b"x" * 1_000_001, 413),
        (POST % 10**17, 413),
        (POST.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") + b"F4241\r\n" + b"x" * 1_000_001, 413),
    ],
)
def test_too_much_is_refused_before_it_is_buffered(request_: bytes, code: int) -> None:
    async def test(one: Node) -> bytes:
        answer = await one.ask(request_)
        assert one.application.requests == []
        assert one.application.budget.used_bytes == 0
        return answer

    assert statuses(run(test)) == [code]


def test_endless_bodies_that_nobody_wants_take_no_memory() -> None:
    async def flood(one: Node) -> None:
        _, writer = await one.open()
        writer.write(POST % 10**12)
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                writer.write(b"x" * 1_000_000)
                await writer.drain()
        writer.close()

    async def test(one: Node) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(4):
            await flood(one)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert run(test) < 16 * 1024  # KiB, as the table demands


# ── C7, C9 ──────────────────────────────────────────────────────────────────────────────────────────────────

LAST = b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def answer_all_ways(exchange: Exchange, body: bytes) -> None:
    invocation = Invocation(
        1, b"\1" * 16, version(), exchange, received_ns=0, received_us=0, deadline_ns=0, frame=b""
    )
    exchange.invocation = invocation
    kind = exchange.request.target
    code = {b"/204": 204, b"/304": 304}.get(kind, 200)
    exchange.head(invocation, code, b"", b"HTTP/1.1 999 not a status", kind == b"/stream")
    if kind == b"/stream":
        exchange.chunk(invocation, b"more", False)


def cut(answers: bytes, methods: list[bytes]) -> list[int]:
    """Read answers as a strict client does; whatever is out of step shows as a wrong status or as a rest."""
    found = []
    for method in methods:
        head, _, answers = answers.partition(b"\r\n\r\n")
        found.append(int(head.split(b" ", 2)[1]))
        if method == b"HEAD" or found[-1] in (204, 304):
            continue
        length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")).split(b": ")[1])
        answers = answers[length:]
    assert answers == b""
    return found


@pytest.mark.parametrize(
    ("first", "wanted"),
    [
        (b"HEAD /a HTTP/1.1\r\nHost: localhost\r\n\r\n", [200, 200]),
        (b"HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n", [200, 200]),
        (b"GET /204 HTTP/1.1\r\nHost: localhost\r\n\r\n", [204, 200]),
        (b"GET /304 HTTP/1.1\r\nHost: localhost\r\n\r\n", [304, 200]),
        (GET.replace(b"GET", b"TRACE"), [405]),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n", [405]),
        (POST % 2_000_000, [413]),
        (GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"), [200, 200]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" * 10_000, [400]),
        (POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") % 3 + b"abc", [200, 200]),
        (b"GET /a HTTP/1.0\r\n\r\n", [200]),
    ],
)
def test_answers_never_get_out_of_step(first: bytes, wanted: list[int]) -> None:
    async def test(one: Node) -> bytes:
        one.application.respond = answer_all_ways
        return await one.ask(first + LAST)

    assert cut(run(test), [first.split(b" ")[0], b"GET"][: len(wanted)]) == wanted


def test_hundred_pipelined_requests_come_back_in_order() -> None:
    async def test(one: Node) -> bytes:
        one.application.respond = lambda exchange, body: exchange.answer(200, b"", b"<%b>" % exchange.request.target)
        pipeline = b"".join(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number for number in range(99))
        return await one.ask(pipeline + LAST)

    answer: bytes = run(test)
    assert statuses(answer) == [200] * 100
    order = [int(part.partition(b">")[0]) for part in answer.split(b"</")[1:-1]]
    assert order == list(range(99))


def test_answer_to_an_unread_body_arrives_whole() -> None:
    """Closing with unread input would reset the connection, and the client could lose the answer."""

    async def test(one: Node) -> list[int]:
        found = []
        for _ in range(10):
            reader, writer = await one.open()
            writer.write(POST % 2_000_000)
            writer.write(b"x" * 500_000)
            found += statuses(await asyncio.wait_for(reader.read(), 20))
            writer.close()
        return found

    assert run(test) == [413] * 10


def test_disconnect_is_noticed_while_the_answer_is_awaited() -> None:
    async def test(one: Node) -> None:
        one.application.respond = lambda exchange, body: None
        _, writer = await one.open()
        writer.write(GET)
        await one.until(lambda: bool(one.application.requests))
        writer.close()
        await one.until(lambda: one.application.notes == ["gone"])

    run(test)


def test_unix_socket_is_served_too(tmp_path: Any) -> None:
    async def main() -> bytes:
        server = HttpServer(asyncio.get_running_loop(), SystemClock(), Recorder())
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "s"))
        await server.listen(listening)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(LAST)
        answer = await reader.read()
        writer.close()
        server.close()
        return answer

    assert statuses(uvloop.run(main())) == [200]
