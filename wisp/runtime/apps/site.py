"""Site: an App that is ready to be called. It prepares calls; the dialect makes them."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, Final, NamedTuple

from wisp.app import App, Entry
from wisp.event import Event, decoded, event_of
from wisp.response import Response
from wisp.runtime.apps.annotations import Shapes
from wisp.runtime.apps.binding import UnsupportedBody, bind
from wisp.runtime.apps.matching import NoEntryError, entry_for
from wisp.runtime.apps.problems import not_allowed, not_found, unsupported_body, wrong_input
from wisp.runtime.apps.routing import Found, Router
from wisp.runtime.apps.shapes import Wrong
from wisp.runtime.apps.signatures import Argument, Plan, plan_of
from wisp.runtime.context import context_class
from wisp.runtime.dialects.results import to_answer
from wisp.runtime.failures import AnswerError
from wisp.runtime.invocation import Invocation
from wisp.runtime.outcomes import Answer
from wisp.runtime.settings import Settings

_KEPT: Final = 4  # documents: one for the path and one for the host name, as the function's URL has two forms
_OWN: Final = {"/openapi.json": "document", "/docs": "page"}


class Prepared(NamedTuple):
    """A call that can be made."""

    entry: Entry
    arguments: dict[str, Any]


class Served:
    """An entry point and its plan, which is made when it is first needed: a cold start pays for one, not for all."""

    def __init__(self, entry: Entry, shapes: Shapes) -> None:
        self.entry = entry
        self.segments = entry.segments
        self.methods = entry.methods
        self._shapes = shapes

    @cached_property
    def plan(self) -> Plan:
        return plan_of(self.entry, self._shapes)


class Site:
    """The routes and entry points of one App."""

    def __init__(self, app: App, settings: Settings) -> None:
        self.app = app
        self.shapes = Shapes()
        self.context = context_class(settings)
        self._version = settings.version
        self.served = [Served(entry, self.shapes) for entry in app.entries]
        routes = [one for one in self.served if one.entry.kind == "route"]
        self._router: Router[Served] = Router(routes)
        self._by_target = {id(one.entry): one for one in self.served}
        self._documents: dict[str, bytes] = {}

    def check(self) -> None:
        """Make all plans, and the document. Raises: `SignatureError`, `AnnotationError`."""
        for one in self.served:
            _ = one.plan
        if self.app.docs:
            self._document("")

    def prepare(self, invocation: Invocation) -> Prepared | Answer:
        """Return the call that an invocation asks for, or the answer that it gets without one.

        Raises: `AnswerError` for an event that no entry point takes, or whose data does not fit.
        """
        if invocation.is_http:
            return self._request(invocation)
        return self._event(invocation)

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────

    def _request(self, invocation: Invocation) -> Prepared | Answer:
        request = invocation.request
        found = self._router.match(request.method, request.path)
        if isinstance(found, Found):
            return self._bound(found.route, invocation, found.values)
        path = request.path.decode("latin-1")
        own = _OWN.get(path.rstrip("/")) if self.app.docs and not found.allow else None
        if own is not None:
            return self._own(own, invocation)
        if not found.allow:
            return not_found(path, docs=self.app.docs)
        if request.method == "OPTIONS":
            return 204, f"allow: {', '.join((*found.allow, 'OPTIONS'))}\r\n".encode(), b""
        return not_allowed(request.method, path, found.allow)

    def _bound(self, route: Served, invocation: Invocation, values: dict[str, str]) -> Prepared | Answer:
        arguments = route.plan.arguments
        if not arguments:
            return Prepared(route.entry, {})
        wrong = Wrong()
        try:
            found = bind(arguments, invocation, values, self._given(arguments, invocation), wrong)
        except UnsupportedBody as error:
            return unsupported_body(error.content_type)
        return wrong_input(wrong) if wrong.count else Prepared(route.entry, found)

    def _given(self, arguments: tuple[Argument, ...], invocation: Invocation) -> dict[str, Any]:
        sources = {one.source for one in arguments}
        given: dict[str, Any] = {}
        if "event" in sources:
            given["event"] = event_of(invocation)
        if "context" in sources:
            given["context"] = self.context(invocation)
        return given

    # ── the app's own pages ─────────────────────────────────────────────────────────────────────────────────

    def _own(self, what: str, invocation: Invocation) -> Answer:
        method = invocation.request.method
        if method not in ("GET", "HEAD"):
            return not_allowed(method, invocation.request.path.decode("latin-1"), ("GET", "HEAD"))
        if what == "document":
            mount = invocation.request.mount.decode("latin-1")
            return 200, b"content-type: application/json\r\n", self._document(mount)
        from wisp.runtime.apps.page import page

        return page(self.app.name)

    def _document(self, mount: str) -> bytes:
        known = self._documents.get(mount)
        if known is None:
            from wisp.runtime.apps.openapi import document

            found = document(self.app, self.served, mount, version=str(self._version), shapes=self.shapes)
            known = json.dumps(found, ensure_ascii=False).encode()
            if len(self._documents) < _KEPT:
                self._documents[mount] = known
        return known

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────

    def _event(self, invocation: Invocation) -> Prepared:
        event = event_of(invocation)
        try:
            entry = entry_for(self.app.entries, event.attributes)
        except NoEntryError as error:
            raise AnswerError(str(error)) from None
        arguments = self._by_target[id(entry)].plan.arguments
        wrong = Wrong()
        found = self._given(arguments, invocation)
        named = {one.name: found[one.source] for one in arguments if one.source in found}
        for one in arguments:
            if one.source == "data":
                named[one.name] = _event_value(one, event, wrong)
        if wrong.count:
            raise AnswerError(f"the event does not fit {entry.name}: {'; '.join(wrong.lines())}")
        return Prepared(entry, named)


def _event_value(argument: Argument, event: Event, wrong: Wrong) -> Any:
    try:
        value = decoded(event.raw, event.content_type)
    except ValueError as error:
        return wrong.add("data", f"is not what its type {event.content_type!r} says: {error}")
    if value is None and not event.raw:
        if argument.required:
            return wrong.add("data", f"is missing, expected {argument.shape.wanted}")
        return argument.default
    try:
        return argument.shape.read(value, "data", wrong)
    except RecursionError:
        return wrong.add("data", "is nested too deeply")


def finished(result: Any, status: int | None) -> Answer:
    """Map what a callable returned; `status` is that of a plain result."""
    answer = to_answer(result)
    if status is None or isinstance(result, Response | Event):
        return answer
    return status, answer[1], answer[2]
