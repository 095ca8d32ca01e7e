"""The OpenAPI 3.1 document of an App, made from its signatures.

Source: OpenAPI Specification 3.1.1; JSON Schema 2020-12.
"""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Iterable
from typing import Any, Final, Protocol

from wisp.app import App, Entry
from wisp.event import Event
from wisp.response import Response
from wisp.runtime.apps.annotations import AnnotationError, Shapes
from wisp.runtime.apps.groups import MISSING, with_default
from wisp.runtime.apps.paths import shape_of
from wisp.runtime.apps.problems import PROBLEM
from wisp.runtime.apps.shapes import Book
from wisp.runtime.apps.signatures import Argument, Plan

_STREAMS: Final = (
    collections.abc.Iterator,
    collections.abc.AsyncIterator,
    collections.abc.Generator,
    collections.abc.AsyncGenerator,
)
_PROBLEM: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                "required": ["field", "message"],
            },
        },
    },
    "required": ["title", "status"],
}
_FORMS: Final = {"text": "text/plain", "bytes": "application/octet-stream"}


class Described(Protocol):
    """A route with its plan."""

    entry: Entry

    @property
    def plan(self) -> Plan: ...


def document(app: App, served: Iterable[Described], mount: str, *, version: str, shapes: Shapes) -> dict[str, Any]:
    """Return the document. `mount` is the path of the function's URL."""
    book = Book()
    writer = _Writer(book, shapes)
    for one in served:
        if one.entry.kind == "route" and not one.entry.hidden:
            writer.add(one.entry, one.plan)
    about: dict[str, Any] = {"title": app.name, "version": app.version or version}
    if app.description:
        about["description"] = app.description
    problems = {"Problem": {"description": "Wrong input, or an error", "content": {PROBLEM: {"schema": _PROBLEM}}}}
    return {
        "openapi": "3.1.0",
        "info": about,
        "servers": [{"url": mount or "/"}],
        "paths": writer.paths,
        "components": {"schemas": book.schemas, "responses": problems},
    }


class _Writer:
    """Puts operations under their paths."""

    def __init__(self, book: Book, shapes: Shapes) -> None:
        self.paths: dict[str, Any] = {}
        self._book = book
        self._shapes = shapes
        self._templates: dict[Any, tuple[str, list[str]]] = {}
        self._ids: set[str] = set()

    def add(self, entry: Entry, plan: Plan) -> None:
        """Add the operations of one route."""
        template, names = self._template(entry)
        for method in entry.methods:
            operations = self.paths.setdefault(template, {})
            operations.setdefault(method.lower(), self._operation(entry, plan, names, method=method))

    def _template(self, entry: Entry) -> tuple[str, list[str]]:
        """Return the path and its parameters' names: the same for all routes of a shape, as the standard says."""
        shape = tuple(("one" if kind == "rest" else kind, name) for kind, name in shape_of(entry.segments))
        known = self._templates.get(shape)
        if known is None:
            parts = [name if kind == "text" else f"{{{name}}}" for kind, name in entry.segments]
            names = [name for kind, name in entry.segments if kind != "text"]
            known = self._templates[shape] = ("/" + "/".join(parts), names)
        return known

    def _operation(self, entry: Entry, plan: Plan, names: list[str], *, method: str) -> dict[str, Any]:
        own = [name for kind, name in entry.segments if kind != "text"]
        renamed = dict(zip(own, names, strict=True))
        operation: dict[str, Any] = {"operationId": self._id(entry.name, method)}
        if entry.tags:
            operation["tags"] = list(entry.tags)
        if plan.summary:
            operation["summary"] = plan.summary
        if plan.description:
            operation["description"] = plan.description
        wide = [one for one in plan.arguments if one.source in ("path", "query", "header", "cookie")]
        if wide:
            operation["parameters"] = [self._parameter(one, renamed) for one in wide]
        body = next((one for one in plan.arguments if one.source == "body"), None)
        if body is not None:
            operation["requestBody"] = self._body(body)
        operation["responses"] = self._responses(entry, plan, asks=bool(wide or body))
        return operation

    def _id(self, name: str, method: str) -> str:
        found = name if name not in self._ids else f"{name}_{method.lower()}"
        while found in self._ids:
            found += "_"
        self._ids.add(found)
        return found

    def _parameter(self, one: Argument, renamed: dict[str, str]) -> dict[str, Any]:
        schema = one.shape.schema(self._book)
        if not one.required:
            schema = with_default(schema, MISSING if one.default is None else one.default)
        name = renamed.get(one.key, one.key) if one.source == "path" else one.key
        found: dict[str, Any] = {"name": name, "in": one.source, "required": one.required, "schema": schema}
        return found | ({"description": one.description} if one.description else {})

    def _body(self, one: Argument) -> dict[str, Any]:
        schema: dict[str, Any] = {} if one.form == "bytes" else one.shape.schema(self._book)
        content = {_FORMS.get(one.form, "application/json"): {"schema": schema}}
        found: dict[str, Any] = {"required": one.required, "content": content}
        return found | ({"description": one.description} if one.description else {})

    def _responses(self, entry: Entry, plan: Plan, *, asks: bool) -> dict[str, Any]:
        status, content = self._answer(plan.returns)
        answer: dict[str, Any] = {"description": "The answer"}
        if content:
            answer["content"] = content
        responses: dict[str, Any] = {str(entry.status or status): answer}
        problem = {"$ref": "#/components/responses/Problem"}
        if asks:
            responses["400"] = problem
        return responses | {"default": problem}

    def _answer(self, returns: Any) -> tuple[int, dict[str, Any]]:
        """Return status and content of what a callable says that it returns."""
        if returns is None or returns is type(None):
            return 204, {}
        if returns is str:
            return 200, {"text/plain": {"schema": {"type": "string"}}}
        if returns is bytes:
            return 200, {"application/octet-stream": {}}
        origin = typing.get_origin(returns) or returns
        if returns in (inspect.Signature.empty, Any) or origin in (*_STREAMS, Response, Event):
            return 200, {}
        try:
            return 200, {"application/json": {"schema": self._shapes.of(returns).schema(self._book)}}
        except AnnotationError:
            return 200, {}  # it may be returned, though nothing can be read into it
