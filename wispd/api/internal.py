"""The application on the gateway's Unix socket: control's way to invoke, to publish and to look in.

ANY  /_wisp/invoke/<namespace>/<name>[/rest][?query]    access rules don't apply: control has checked;
                                                        Wisp-Alias and Wisp-Version say which version
POST /_wisp/version <version as JSON>                   one that no alias points at may be invoked from now on
POST /_wisp/warm <version as JSON>                      start what its function needs now → {"ready": N}
POST /_wisp/published {"offset": N}                     → {"offset": M}
POST /_wisp/build <version as JSON>                     → the answer of its one invocation, as it comes
POST /_wisp/trial <version as JSON>                     → {"dialect": …, "init_ms": …, "entries": […]}, or why not
POST /_wisp/counts {"namespace", "name"}                → [{"number", "calls", "failed", "buckets"}]
GET  /_wisp/metrics (JSON counters) · GET /_wisp/status · POST /_wisp/drain
GET  /_wisp/calls?namespace=…&after=N                  → {"items": […], "next": M}, when there are any
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import Any, Final, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qs

import msgspec

from wisp.runtime.frames import BODY_MAX
from wispd.api.choosing import Chosen, Draw
from wispd.api.door import BodyBudget, Calls, Door
from wispd.api.faults import id_line
from wispd.api.ingress import BODY_LIMIT, disabled
from wispd.api.invocations import InvocationMaker, Passage, passed_headers
from wispd.base.errors import Fault
from wispd.gateway.http1_application import Conversation, Exchange, Problem
from wispd.gateway.http1_head import Head
from wispd.gateway.opening import Ready
from wispd.gateway.router import MOUNT, RouteTable
from wispd.gateway.splitting import Split, split
from wispd.model.alias import LIVE, WHOLE, Share
from wispd.model.counts import VersionCounts
from wispd.model.function import BUILD_FUNCTION, Published, Version
from wispd.model.invocation import Invocation, Trigger

_INVOKE: Final = b"/_wisp/invoke/"
_BUILD: Final = b"/_wisp/build"
_TRIAL: Final = b"/_wisp/trial"
_CALLS: Final = b"/_wisp/calls"
_WARM: Final = b"/_wisp/warm"
_COUNTS: Final = b"/_wisp/counts"
_VERSION: Final = b"/_wisp/version"
_METHODS: Final = {
    _CALLS: b"GET",
    b"/_wisp/published": b"POST",
    _BUILD: b"POST",
    _TRIAL: b"POST",
    _WARM: b"POST",
    _VERSION: b"POST",
    _COUNTS: b"POST",
    b"/_wisp/metrics": b"GET",
    b"/_wisp/status": b"GET",
    b"/_wisp/drain": b"POST",
}
_JSON: Final = b"Content-Type: application/json\r\n"
_SMALL: Final = 1_048_576  # bytes of a body that is not a function's


Kind = TypeVar("Kind")
Told = Callable[[list[dict[str, Any]], int], None]  # events, and the number that continues behind them
TrialDone = Callable[[Ready | None, Fault | None, int], None]  # what it said, or the reason; nanoseconds it took
WarmDone = Callable[[int, Fault | None], None]  # instances that are ready, or why none is


class Operations(Protocol):
    """What the gateway offers to control besides invoking. No method may block or raise anything but `Fault`."""

    def snapshot(self) -> bytes:
        """Return all counters as one JSON document; whoever asks renders them."""

    def trial(self, version: Version, done: TrialDone) -> None:
        """See whether a version that is not live initialises."""

    def warm(self, version: Version, done: WarmDone) -> None:
        """Start as many instances of a version as its function needs now, ahead of its first call."""

    def counts(self, namespace: str, name: str) -> list[VersionCounts]:
        """Return what was counted of a function, version by version."""

    def status(self) -> dict[str, Any]: ...

    def published(self, offset: int) -> int:
        """Read the journal at least up to `offset`, if it is there; return the offset reached."""

    def drain(self) -> None: ...

    def calls(self, namespace: str, after: int, told: Told) -> None:
        """Tell the calls that ended behind event `after`, once there are any."""


class Publication(msgspec.Struct, frozen=True):
    """The body of /_wisp/published, both ways."""

    offset: int


class Asked(msgspec.Struct, frozen=True):
    """The body of /_wisp/counts: which function."""

    namespace: str
    name: str


class _Target(NamedTuple):
    """A function as this door addresses it, and the target the function sees."""

    namespace: str
    name: str
    target: bytes
    mount: int


class InternalDoor(Door):
    """The `Application` of the Unix socket. Its file mode is its access rule."""

    def __init__(
        self,
        calls: Calls,
        maker: InvocationMaker,
        budget: BodyBudget,
        *,
        table: RouteTable,
        operations: Operations,
        body_limit: int = BODY_LIMIT,
    ) -> None:
        super().__init__(calls, maker, budget)
        self._table = table
        self._operations = operations
        self._body_limit = body_limit
        self._bits = SystemRandom().getrandbits

    def requested(self, exchange: Exchange) -> None:
        """Answer, or begin to receive the body."""
        head = exchange.request
        try:
            if head.path.startswith(_INVOKE):
                self._begin(exchange, head)
            else:
                self._check(head)
                exchange.collect(_SMALL)
        except Fault as fault:
            exchange.refuse(fault)

    def collected(self, exchange: Exchange, body: bytes) -> None:
        """Invoke, or do one of the small things."""
        try:
            if exchange.request.path.startswith(_INVOKE):
                self._invoke(exchange, body)
            else:
                self._operate(exchange, body)
        except Fault as fault:
            exchange.refuse(fault)

    def gone(self, exchange: Conversation) -> None:
        """Whoever asked has left: a trial's answer has nowhere to go."""
        exchange.state = None
        super().gone(exchange)

    def decorate(self, invocation: Invocation) -> bytes:
        """Say how the invocation went. What a streamed answer can't know yet is left out."""
        return id_line(invocation.id) + _report(invocation)

    def problem(self, fault: Fault, invocation: Invocation | None) -> Problem:
        """Write a fault down, with how the invocation went."""
        problem = super().problem(fault, invocation)
        if invocation is None:
            return problem
        return problem._replace(block=problem.block + _report(invocation))

    # ── invoking ────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, exchange: Exchange, head: Head) -> None:
        target = _parse(head.target)
        function = self._table.function(target.namespace, target.name)
        if function is None:
            raise Fault("not_found", f"function {target.name!r} is not in namespace {target.namespace!r}")
        if not function.enabled:
            raise disabled(function)
        alias = self._versions(function, head)
        headers = passed_headers(head)
        ways = [
            Chosen(
                Passage(version, headers, target=target.target, mount=target.mount, trigger=Trigger.ADMIN),
                version.streaming and not 0 <= head.length <= BODY_MAX,
            )
            for version in alias.versions
        ]
        chosen = Draw(alias, ways, head.headers, path="/", bits=self._bits).next()
        exchange.state = chosen
        if chosen.streams:
            if self._invoke(exchange, b"", more=True):
                exchange.stream()
        else:
            exchange.collect(self._body_limit)

    def _versions(self, function: Published, head: Head) -> Split:
        """Return what the request names: a version, an alias, or `live`."""
        number = _header(head, b"wisp-version")
        if number:
            version = self._table.version(function, int(number)) if number.isdigit() and len(number) < 19 else None
            if version is None:
                raise Fault("not_found", f"function {function.name!r} has no version {number[:40]!r}")
            return Split((version,), (Share(version.number, WHOLE),), None, b"")
        alias = _header(head, b"wisp-alias") or LIVE
        found = split(function, alias)
        if found is None:
            raise Fault("not_found", f"function {function.name!r} has no alias {alias[:40]!r}")
        return found

    def _invoke(self, exchange: Exchange, body: bytes, *, more: bool = False) -> bool:
        invocation = self._maker.make(exchange, exchange.state.passage, body, more=more)
        return self._submit(exchange, invocation)

    # ── the small things ────────────────────────────────────────────────────────────────────────────────────

    @staticmethod
    def _check(head: Head) -> None:
        method = _METHODS.get(head.path)
        if method is None:
            raise Fault("not_found", f"{head.path[:200].decode()!r} is nothing of this door")
        if head.method != method:
            allowed = method.decode()
            raise Fault("method_not_allowed", f"{head.path.decode()} answers {allowed} only", allow=allowed)

    def _operate(self, exchange: Exchange, body: bytes) -> None:
        path = exchange.request.path
        operations = self._operations
        if path == _TRIAL:
            self._try(exchange, body)
            return
        if path == _CALLS:
            self._follow(exchange)
            return
        if path == _BUILD:
            self._build(exchange, body)
            return
        if path == _WARM:
            self._warm(exchange, body)
            return
        if path == _VERSION:
            self._table.learn(_version(body))
            answer = b"{}"
        elif path == _COUNTS:
            asked = _decoded(body, Asked)
            answer = msgspec.json.encode(operations.counts(asked.namespace, asked.name))
        elif path == b"/_wisp/metrics":
            answer = operations.snapshot()
        elif path == b"/_wisp/status":
            answer = msgspec.json.encode(operations.status())
        elif path == b"/_wisp/published":
            answer = msgspec.json.encode(Publication(operations.published(_decoded(body, Publication).offset)))
        else:
            operations.drain()
            answer = b'{"draining":true}'
        exchange.answer(200, _JSON + id_line(self._maker.id()), answer)

    def _build(self, exchange: Exchange, body: bytes) -> None:
        """Run a build: the one invocation of a version that is never published and whose instance ends with it."""
        version = _version(body)
        if version.function != BUILD_FUNCTION or version.memory_bytes <= 0:
            raise Fault("invalid_argument", "the version is no build's")
        passage = Passage(version, b"", target=b"/", mount=0, trigger=Trigger.ADMIN)
        self._submit(exchange, self._maker.make(exchange, passage, b""))

    def _try(self, exchange: Exchange, body: bytes) -> None:
        version = _version(body)
        exchange.state = version

        def done(ready: Ready | None, fault: Fault | None, took_ns: int) -> None:
            if exchange.state is not version:
                return  # whoever asked has left
            exchange.state = None
            if fault is not None or ready is None:
                exchange.refuse(fault or Fault("internal", "the trial ended without a word"))
            else:
                told = {"dialect": ready.dialect, "init_ms": round(took_ns / 1e6, 3), "entries": ready.entries}
                answer = msgspec.json.encode(told)
                exchange.answer(200, _JSON + id_line(self._maker.id()), answer)

        self._operations.trial(version, done)

    def _follow(self, exchange: Exchange) -> None:
        query = parse_qs(exchange.request.target.partition(b"?")[2].decode("ascii", "replace"))
        after = query.get("after", ["-1"])[0]
        exchange.state = question = object()

        def told(events: list[dict[str, Any]], number: int) -> None:
            if exchange.state is question:  # else whoever asked has left
                exchange.state = None
                answer = msgspec.json.encode({"items": events, "next": number})
                exchange.answer(200, _JSON + id_line(self._maker.id()), answer)

        self._operations.calls(query.get("namespace", [""])[0], int(after) if after.isdigit() else -1, told)

    def _warm(self, exchange: Exchange, body: bytes) -> None:
        version = _version(body)
        exchange.state = version

        def done(ready: int, fault: Fault | None) -> None:
            if exchange.state is not version:
                return  # whoever asked has left
            exchange.state = None
            if fault is not None:
                exchange.refuse(fault)
            else:
                exchange.answer(200, _JSON + id_line(self._maker.id()), msgspec.json.encode({"ready": ready}))

        self._operations.warm(version, done)


def _header(head: Head, name: bytes) -> str:
    values = head.values(name)
    return values[0].decode("ascii", "replace") if values else ""


def _version(body: bytes) -> Version:
    return _decoded(body, Version)


def _decoded(body: bytes, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise Fault("invalid_argument", f"the body is not what is wanted here: {error}") from None


def _parse(target: bytes) -> _Target:
    """Take a target apart: the function sees `/fn/<name>` where this door has its own prefix."""
    path, mark, query = target.partition(b"?")
    namespace, _, rest = path[len(_INVOKE) :].partition(b"/")
    name, slash, rest = rest.partition(b"/")
    if not namespace or not name:
        raise Fault("not_found", "expected /_wisp/invoke/<namespace>/<name>")
    mount = MOUNT + name
    return _Target(namespace.decode(), name.decode(), mount + slash + rest + mark + query, len(mount))


def _report(invocation: Invocation) -> bytes:
    lines = f"Wisp-Status: {invocation.status.word}\r\nWisp-Cold: {int(invocation.cold)}\r\n"
    lines += f"Wisp-Version: {invocation.version.number}\r\n"
    if invocation.finished_ns:
        billed_ms = -(-invocation.billed_ns // 1_000_000)
        lines += f"Wisp-Run-Ms: {invocation.run_ns / 1e6:.3f}\r\nWisp-Billed-Ms: {billed_ms}\r\n"
    return lines.encode()
