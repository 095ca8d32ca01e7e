"""Ingress: the public door. It decides on the head alone: where to, who may, how much body, streamed or collected."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import SystemRandom
from typing import Final

from wisp.runtime.frames import BODY_MAX
from wispd.api.access import Tokens, Verdict, admit, bearer, decide, hostname, is_forwarded, is_itself, is_loopback
from wispd.api.choosing import Chosen, Draw
from wispd.api.door import BodyBudget, Calls, Door
from wispd.api.faults import id_line
from wispd.api.index import LISTED_MAX, LOOKED_MAX, index, listed
from wispd.api.invocations import InvocationMaker, Passage, passed_headers
from wispd.api.rates import TokenRates
from wispd.base.errors import Fault
from wispd.gateway.http1_application import Exchange
from wispd.gateway.http1_handshake import check_handshake
from wispd.gateway.http1_head import Head
from wispd.gateway.router import RouteTable
from wispd.gateway.splitting import Split, split
from wispd.model.function import Published, Version
from wispd.model.invocation import Invocation, Trigger
from wispd.ports.observer import Observer

BODY_LIMIT: Final = 6 * 1024 * 1024  # bytes of a collected request body; AWS Lambda's limit

_INTERNAL: Final = b"/_wisp"
_HINT: Final = (
    "nothing answers at {path!r} of host {host!r}; functions are at /fn/<name>/… and http://<name>.localhost/…"
)


class _Plan:
    """What was decided on one head. Kept with the head while the route table stays the same."""

    __slots__ = (
        "draw",
        "fault",
        "function",
        "generation",
        "known",
        "lines",
        "namespace",
        "passage",
        "raw",
        "streams",
        "verdict",
    )

    def __init__(self, function: Published, head: Head, draw: Draw, *, generation: int) -> None:
        self.function = function
        self.namespace = function.namespace
        self.passage, self.streams, self.lines = draw.fixed or draw.ways[0]
        self.draw = draw if draw.fixed is None else None  # what each request draws its version from
        self.generation = generation
        self.verdict = Verdict.TOKEN
        self.raw: bytes | None = None  # the token that came with it
        self.known = False  # was it one of ours?
        self.fault = _objection(function, head, self.passage.version)  # what it gets once it may come in

    def drawn(self, draw: Draw, head: Head) -> _Plan:
        """Return the plan of one request."""
        plan = copy.copy(self)
        plan.passage, plan.streams, plan.lines = draw.next()
        if head.websocket:
            plan.fault = _objection(self.function, head, plan.passage.version)
        return plan


class Ingress(Door):
    """The `Application` of the public listener. `loopback`: the listener is bound to a loopback address."""

    def __init__(  # noqa: PLR0913  (the composition root calls it once)
        self,
        calls: Calls,
        maker: InvocationMaker,
        budget: BodyBudget,
        *,
        table: RouteTable,
        observer: Observer,
        loopback: bool,
        body_limit: int = BODY_LIMIT,
        secure: bool = False,
        bits: Callable[[int], int] | None = None,
    ) -> None:
        super().__init__(calls, maker, budget)
        self._bits = bits or SystemRandom().getrandbits
        self._table = table
        self._tokens = Tokens(table.tokens)
        self._rates = TokenRates(maker.clock, table.limits.requests_per_s)
        self._observer = observer
        self._loopback = loopback
        self._scheme = "https" if secure else "http"
        self._body_limit = body_limit

    def requested(self, exchange: Exchange) -> None:
        """Decide on a head, and invoke if there is no body to wait for."""
        head = exchange.request
        plan: _Plan | None = head.prepared
        try:
            if plan is None or plan.generation != self._table.generation:
                plan = self._plan(head)
            if plan.raw is not None or plan.verdict is not Verdict.PUBLIC:
                plan = self._authorize(head, plan)
        except Fault as fault:
            if fault.code != "not_found" or not self._index(exchange):
                self._refuse(exchange, plan, fault)
            return
        if plan.draw is not None:
            plan = plan.drawn(plan.draw, head)
        if plan.fault is not None:
            self._refuse(exchange, plan, plan.fault)
        elif head.websocket:
            self._invoke(exchange, plan, b"", more=True)
        elif not head.length:
            self._invoke(exchange, plan, b"")
        elif plan.streams:
            if self._invoke(exchange, plan, b"", more=True):
                exchange.stream()
        else:
            exchange.state = plan
            exchange.collect(self._body_limit)

    def collected(self, exchange: Exchange, body: bytes) -> None:
        """Invoke with the whole body."""
        self._invoke(exchange, exchange.state, body)

    def _invoke(self, exchange: Exchange, plan: _Plan, body: bytes, *, more: bool = False) -> bool:
        try:
            invocation = self._maker.make(
                exchange, plan.passage, body, more=more, websocket=exchange.request.websocket
            )
        except Fault as fault:
            self._refuse(exchange, plan, fault)
            return False
        invocation.answer_lines = plan.lines
        return self._submit(exchange, invocation)

    def decorate(self, invocation: Invocation) -> bytes:
        """Say which invocation answers, and give a sticky caller its cookie."""
        return id_line(invocation.id) + invocation.answer_lines

    def _refuse(self, exchange: Exchange, plan: _Plan | None, fault: Fault) -> None:
        namespace, name = ("", "") if plan is None else (plan.namespace, plan.function.name)
        self._observer.refused(namespace, name, fault.code)
        exchange.refuse(fault)

    def _index(self, exchange: Exchange) -> bool:
        """Answer with the index page where one is due: nothing else is at `/`, and this machine itself looks."""
        head = exchange.request
        host = hostname(head.host)
        here = self._loopback and is_itself(head.host) and not is_forwarded(head.headers)
        if not here or head.path != b"/" or head.method not in (b"GET", b"HEAD"):
            return False
        known = self._table.some(LOOKED_MAX)
        shown = [one for one in known if one.enabled and one.live.access in ("", "public")]
        rows = listed(shown[:LISTED_MAX], domain=self._table.domain, port=head.host[len(host) :].decode())
        cut = len(shown) > LISTED_MAX or len(known) == LOOKED_MAX
        accept = b",".join(head.values(b"accept"))
        lines, body = index(rows, base=f"{self._scheme}://{head.host.decode()}", accept=accept, cut=cut)
        exchange.answer(200, lines + id_line(self._maker.id()), body)
        return True

    # ── decisions on a head ─────────────────────────────────────────────────────────────────────────────────

    def _plan(self, head: Head) -> _Plan:
        host = hostname(head.host)
        trusted = is_loopback(head.host) or self._table.declared(host)
        if self._loopback and head.host and not trusted:
            raise Fault(
                "misdirected_request",
                f"host {host.decode()!r} is not served here; declare it as `domain` or in a route",
            )
        function, mount, alias = self._route(head, host)
        verdict = max(
            decide(
                version.access,
                loopback_door=self._loopback,
                trusted_host=trusted and self._is_ours(head),
                forwarded=is_forwarded(head.headers),
            )
            for version in alias.versions  # a canary opens nothing that another version keeps closed
        )
        if verdict is Verdict.HIDDEN:
            raise _nothing(head, host)
        raw = bearer(head.values(b"authorization"))
        known = raw is not None and self._tokens.find(raw, self._maker.now_us()) is not None
        draw = self._draw(head, alias, mount=mount, drop_authorization=known)
        plan = _Plan(function, head, draw, generation=self._table.generation)
        plan.verdict, plan.raw, plan.known = verdict, raw, known
        head.prepared = plan
        return plan

    def _is_ours(self, head: Head) -> bool:
        """Does a handshake come from a page of this machine, or from no page at all?

        A browser lets any page open a WebSocket anywhere and read it: the same-origin policy does not apply to them.
        """
        if not head.websocket:
            return True
        origins = head.values(b"origin")
        hosts = [origin.lower().partition(b"://")[2] for origin in origins]
        return all(host and (is_loopback(host) or self._table.declared(hostname(host))) for host in hosts)

    def _draw(self, head: Head, alias: Split, *, mount: int, drop_authorization: bool) -> Draw:
        headers = passed_headers(head, drop_authorization=drop_authorization)
        ways = []
        for version in alias.versions:
            passage = Passage(version, headers, target=head.target, mount=mount, trigger=Trigger.HTTP)
            streams = version.streaming and not 0 <= head.length <= BODY_MAX  # a small body fits into one frame
            ways.append(Chosen(passage, streams))
        path = head.path[:mount].decode("ascii", "replace") or "/"
        return Draw(alias, ways, head.headers, path=path, bits=self._bits)

    def _route(self, head: Head, host: bytes) -> tuple[Published, int, Split]:
        internal = head.path == _INTERNAL or head.path.startswith(_INTERNAL + b"/")
        match = None if internal else self._table.resolve(host, head.path, head.method)
        if match is None:
            raise _nothing(head, host)
        if match.function is None:
            raise Fault(
                "method_not_allowed",
                f"{head.method.decode()} is not answered here, but {', '.join(match.allow)}",
                allow=", ".join(match.allow),
            )
        alias = split(match.function, match.alias)
        if alias is None:
            raise _nothing(head, host)
        return match.function, match.mount, alias

    def _authorize(self, head: Head, plan: _Plan) -> _Plan:
        """Look at the token anew for every request: it may have been revoked, or have run out."""
        token = None if plan.raw is None else self._tokens.find(plan.raw, self._maker.now_us())
        if (token is not None) != plan.known:
            plan = self._plan(head)
        if plan.verdict is not Verdict.PUBLIC:
            admit(token, plan.namespace, presented=plan.raw is not None)
        if token is not None and self._table.limits.quotas:
            self._rates.check(token)
        return plan


def _nothing(head: Head, host: bytes) -> Fault:
    path = head.path[:200].decode("ascii", "replace")
    if head.path.startswith(b"/async/"):
        return _no_async()
    return Fault("not_found", _HINT.format(path=path, host=host.decode()))


def _no_async() -> Fault:
    return Fault("not_implemented", "asynchronous invocation comes with events; call without /async and Prefer")


def disabled(function: Published) -> Fault:
    """Return what a caller of a disabled function gets."""
    why = f": {function.disabled_reason}" if function.disabled_reason else ""
    return Fault("disabled", f"function {function.name!r} is disabled{why}", function=function.name)


def _objection(function: Published, head: Head, version: Version) -> Fault | None:
    """What stands against invoking, for a caller who may."""
    if not function.enabled:
        return disabled(function)
    if head.websocket:
        return _objection_to_switching(version, head)
    for value in head.values(b"prefer"):
        if b"respond-async" in [part.partition(b";")[0].strip() for part in value.lower().split(b",")]:
            return _no_async()
    return None


def _objection_to_switching(version: Version, head: Head) -> Fault | None:
    """What stands against a WebSocket to this function."""
    try:
        check_handshake(head)
    except Fault as fault:
        return fault
    if version.dialect in ("asgi", ""):
        return None
    text = f"function {version.function!r} speaks {version.dialect}; a WebSocket needs an ASGI application"
    return Fault("not_implemented", text, dialect=version.dialect)
