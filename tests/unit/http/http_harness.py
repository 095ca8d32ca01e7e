"""HTTP without a network: a server on virtual time, transports that remember, applications and calls a test plays."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from wisp.runtime import frames
from wispd.api.door import BodyBudget
from wispd.api.ingress import Ingress
from wispd.api.invocations import InvocationMaker
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault
from wispd.base.ids import id_source
from wispd.gateway.http1 import HeadParser, HttpServer, Limits, Problem
from wispd.gateway.http1_application import Exchange
from wispd.gateway.http1_connection import Connection
from wispd.gateway.router import RouteTable
from wispd.model.function import Published, Version
from wispd.model.invocation import Invocation
from wispd.model.published import Entry, encode

HIGH_WATER = 65_536


class HandLoop:
    """The one loop method the server uses."""

    def __init__(self) -> None:
        self._soon: deque[Callable[[], None]] = deque()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def turn(self) -> int:
        """Run what is due now; return how much that was."""
        due = len(self._soon)
        for _ in range(due):
            self._soon.popleft()()
        return due


class Wire:
    """A transport whose client reads only when the test says so (`reads`), else at once."""

    def __init__(self, peer: Any = ("127.0.0.1", 40_000)) -> None:
        self.out = bytearray()  # everything written
        self.unread = 0
        self.stalled = False
        self.reading = True
        self.closed = False
        self.aborted = False
        self.half_closed = False
        self.connection: Connection = None  # type: ignore[assignment]
        self._peer = peer
        self._paused = False

    def get_extra_info(self, name: str) -> Any:
        return self._peer if name == "peername" else None

    def write(self, data: bytes) -> None:
        assert not self.half_closed, "written after the end of file"
        if self.closed:
            return
        self.out += data
        if self.stalled:
            self.unread += len(data)
            if self.unread > HIGH_WATER and not self._paused:
                self._paused = True
                self.connection.pause_writing()

    def read(self, size: int) -> None:
        """Let the client read."""
        self.unread = max(0, self.unread - size)
        if self._paused and self.unread <= HIGH_WATER // 4:
            self._paused = False
            self.connection.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unread

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def set_protocol(self, protocol: Any) -> None:
        self.connection = protocol

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    @property
    def over(self) -> bool:
        """Has the client been told that nothing more comes?"""
        return self.closed or self.half_closed


class Recorder:
    """An application that notes requests and answers as the test tells it."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes, bytes]] = []  # method, target, body
        self.notes: list[str] = []
        self.limit = 1_000_000
        self.streamed = False
        self.willing = True
        self.budget = BodyBudget(10_000_000)
        self.exchange: Exchange | None = None
        self.respond: Callable[[Exchange, bytes], None] = lambda exchange, body: exchange.answer(200, b"", b"ok")
        self._parts: list[bytes] = []

    def requested(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._parts = []
        if self.streamed:
            exchange.stream()
        else:
            exchange.collect(self.limit)

    def collected(self, exchange: Exchange, body: bytes) -> None:
        self.requests.append((exchange.request.method, exchange.request.target, body))
        self.respond(exchange, body)

    def arrived(self, exchange: Exchange, part: bytes, more: bool) -> bool:
        self._parts.append(part)
        self.notes.append(f"part {len(part)}{'' if more else ' last'}")
        if not more:
            self.collected(exchange, b"".join(self._parts))
        return self.willing

    def gone(self, exchange: Exchange) -> None:
        self.notes.append("gone")

    def paused(self, exchange: Exchange) -> None:
        self.notes.append("paused")

    def resumed(self, exchange: Exchange) -> None:
        self.notes.append("resumed")

    def hostile(self, exchange: Exchange, reason: str) -> None:
        self.notes.append(f"hostile: {reason}")

    def ending(self, invocation: Invocation) -> None:
        self.notes.append("ending")

    def reserve(self, size: int) -> bool:
        return self.budget.reserve(size)

    def decorate(self, invocation: Invocation) -> bytes:
        return b"Wisp-Invocation-Id: inv_x\r\n"

    def problem(self, fault: Fault, invocation: Invocation | None) -> Problem:
        return Problem(fault.http_status, b"X-Code: %b\r\n" % fault.code.encode(), fault.message.encode())


class Bench:
    """A server, its clock, and its clients."""

    def __init__(self, application: Any = None, *, limits: Limits | None = None, strict: bool = True) -> None:
        self.clock = getattr(self, "clock", None) or VirtualClock()
        self.loop = HandLoop()
        self.application = application if application is not None else Recorder()
        self.limits = limits or Limits()
        self.server = HttpServer(
            self.loop,  # type: ignore[arg-type]
            self.clock,
            self.application,
            limits=self.limits,
            heads=HeadParser(self.limits, strict=strict),
        )

    def connect(self, peer: Any = ("127.0.0.1", 40_000)) -> Wire:
        wire = Wire(peer)
        wire.connection = self.server.connection()
        wire.connection.connection_made(wire)  # type: ignore[arg-type]
        return wire

    def send(self, wire: Wire, data: bytes) -> bytes:
        """Give the server bytes of a client and return what came back so far."""
        wire.connection.data_received(data)
        while self.loop.turn():
            pass
        return bytes(wire.out)

    def talk(self, data: bytes) -> Wire:
        """Connect and send."""
        wire = self.connect()
        self.send(wire, data)
        return wire

    def wait(self, seconds: float, step_s: float = 0.5) -> None:
        """Let time pass, with sweeps."""
        for _ in range(int(seconds / step_s)):
            self.clock.advance(step_s)
            self.server.sweep()

    def hang_up(self, wire: Wire) -> None:
        wire.connection.eof_received()
        wire.closed = True
        wire.connection.connection_lost(None)


class Observed:
    """The observer: notes what was refused."""

    def __init__(self) -> None:
        self.codes: list[tuple[str, str, str]] = []

    def refused(self, namespace: str, function: str, code: str) -> None:
        self.codes.append((namespace, function, code))

    def finished(self, invocation: Invocation) -> None: ...

    def cold_started(self, version: Version, start_ns: int, init_ns: int, pooled: bool) -> None: ...

    def instance_log(self, version: Version, instance: int, text: bytes) -> None: ...

    def invocation_log(self, invocation_id: bytes, version: Version, text: bytes) -> None: ...


class Calls:
    """A dispatcher that answers at once with `ok`, unless told to keep."""

    def __init__(self) -> None:
        self.invocations: list[Invocation] = []
        self.keep = False
        self.willing = True
        self.fed: list[tuple[bytes, bool]] = []
        self.cancelled: list[Invocation] = []
        self.notes: list[str] = []

    def submit(self, invocation: Invocation) -> None:
        self.invocations.append(invocation)
        if not self.keep and invocation.body_done:
            invocation.sink.head(invocation, 200, b"", b"ok", False)

    def feed(self, invocation: Invocation, chunk: bytes, more: bool) -> bool:
        self.fed.append((chunk, more))
        return self.willing

    def cancel(self, invocation: Invocation, reason: int) -> None:
        assert reason == frames.CANCEL_DISCONNECTED
        self.cancelled.append(invocation)

    def hostile(self, invocation: Invocation, reason: str) -> None:
        self.notes.append(f"hostile: {reason}")
        invocation.sink.fault(invocation, Fault("invalid_answer", reason))

    def pause(self, invocation: Invocation) -> None:
        self.notes.append("pause")

    def resume(self, invocation: Invocation) -> None:
        self.notes.append("resume")


def version(name: str = "hello", **settings: Any) -> Version:
    namespace = settings.pop("namespace", "default")
    return Version(
        id=f"ver_{name}", namespace=namespace, function=name, number=1, code="0" * 64, handler="m:h", **settings
    )


def published(name: str = "hello", *, enabled: bool = True, **settings: Any) -> Published:
    live = version(name, **settings)
    return Published(namespace=live.namespace, name=name, live=live, enabled=enabled)


class Gate(Bench):
    """The public door with its route table and a played dispatcher."""

    def __init__(
        self,
        *entries: Entry,
        loopback: bool = True,
        limits: Limits | None = None,
        strict: bool = True,
        **settings: Any,
    ) -> None:
        self.table = RouteTable(settings.pop("domain", "localhost"))
        self.calls = Calls()
        self.observer = Observed()
        self.clock = VirtualClock()
        self.publish(*entries)
        maker = InvocationMaker(self.clock, ids=id_source(self.clock), numbers=itertools.count(1).__next__)
        self.budget = BodyBudget(settings.pop("budget_bytes", 1 << 28))
        self.ingress = Ingress(
            self.calls,
            maker,
            self.budget,
            table=self.table,
            observer=self.observer,
            loopback=loopback,
            **settings,
        )
        super().__init__(self.ingress, limits=limits, strict=strict)

    def publish(self, *entries: Entry) -> None:
        for entry in entries:
            self.table.apply(entry, encode(entry))

    def request(self, target: str, *headers: str, method: str = "GET", host: str = "localhost:8080") -> bytes:
        """Send one request without a body on its own connection and return the answer."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]
        return bytes(self.talk("\r\n".join(lines).encode()).out)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def statuses(answers: bytes) -> list[int]:
    """The statuses of several answers in a row."""
    return [int(part.split(b" ", 1)[0]) for part in answers.split(b"HTTP/1.1 ")[1:]]


def header(answer: bytes, name: str) -> str | None:
    for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b": ")
        if key.decode().lower() == name.lower():
            return value.decode()
    return None


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def block_of(invocation: Invocation) -> tuple[bytes, dict[bytes, bytes]]:
    """The first line and the headers of an INVOKE frame."""
    frame = frames.parse(invocation.frame)
    lines = frame.head[frames.INVOKE_HEAD.size :].split(b"\r\n")
    return lines[0], dict(line.split(b": ", 1) for line in lines[1:] if line)


def call(exchange: Exchange) -> Invocation:
    """Make the exchange the sink of an invocation."""
    invocation = Invocation(
        1, b"\1" * 16, version(), exchange, received_ns=0, received_us=0, deadline_ns=0, frame=b""
    )
    exchange.invocation = invocation
    return invocation


def later(bench: Bench) -> None:
    bench.application.respond = lambda exchange, body: None
