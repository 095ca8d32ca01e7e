"""From a callable's signature to where each of its arguments comes from."""

from __future__ import annotations

import functools
import inspect
import typing
from typing import Any, Final, NamedTuple

from wisp.app import Entry
from wisp.event import Event
from wisp.parameters import Body, Cookie, Header, Marker, Query
from wisp.runtime.apps.annotations import AnnotationError, Shapes, hints_of
from wisp.runtime.apps.groups import Items
from wisp.runtime.apps.scalars import SCALARS
from wisp.runtime.apps.shapes import Either, Nothing, Shape
from wisp.runtime.context import Context

_BODILESS: Final = ("GET", "HEAD", "OPTIONS")


class SignatureError(TypeError):
    """An entry point whose parameters can't be filled; the message names it and the parameter."""


class Argument(NamedTuple):
    """One parameter. `source`: event, context, path, query, header, cookie, body, or data (of an event).

    `key` is its name on the wire. `form` of a body: json, text or bytes. `items` where it may come more than once.
    """

    name: str
    source: str
    key: str
    shape: Shape
    required: bool = False
    default: Any = None
    form: str = "json"
    items: Items | None = None
    description: str = ""

    @property
    def place(self) -> str:
        """Where it is, for people: `query.limit`, `body`."""
        return self.source if self.source in ("body", "data") else f"{self.source}.{self.key}"


class Plan(NamedTuple):
    """What a callable takes, and what it says it returns."""

    arguments: tuple[Argument, ...]
    returns: Any
    summary: str
    description: str


def plan_of(entry: Entry, shapes: Shapes) -> Plan:
    """Return the plan of an entry point. Raises: `SignatureError`."""
    try:
        function = _function_of(entry.target)
        hints = hints_of(function)
        parameters = inspect.signature(entry.target).parameters.values()
        arguments = tuple(_argument(entry, one, hints, shapes) for one in parameters)
        _check(entry, arguments)
    except (AnnotationError, SignatureError) as error:
        raise SignatureError(f"{shown_entry(entry)}: {error}") from None
    summary, _, rest = (inspect.getdoc(function) or "").partition("\n")
    return Plan(arguments, hints.get("return", inspect.Signature.empty), summary.strip(), rest.strip())


def shown_entry(entry: Entry) -> str:
    """Return an entry point as people know it: `GET /orders/{id} (order)`."""
    what = f"{'/'.join(entry.methods)} {entry.path}" if entry.kind == "route" else entry.schedule or entry.type
    return f"{what} ({entry.name})"


def _function_of(target: Any) -> Any:
    while isinstance(target, functools.partial):
        target = target.func
    return target if inspect.isroutine(target) else type(target).__call__


def _argument(entry: Entry, parameter: inspect.Parameter, hints: dict[str, Any], shapes: Shapes) -> Argument:
    name = parameter.name
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise SignatureError(
            f"parameter {parameter} has no name that a request could give; write it out "
            "(a decorator needs functools.wraps)"
        )
    annotation = hints.get(name, inspect.Parameter.empty)
    given = _injected(name, annotation)
    if given is not None:
        return Argument(name, given, name, Nothing())
    bare = annotation is inspect.Parameter.empty
    try:
        shape = shapes.of(str if bare else annotation)
    except AnnotationError as error:
        raise SignatureError(f"parameter {name}: {error}") from None
    optional = isinstance(shape, Either) and shape.nullable
    required = parameter.default is inspect.Parameter.empty and not optional
    default = None if parameter.default is inspect.Parameter.empty else parameter.default
    marker = _marker(annotation)
    found = Argument(name, "data", name, shape, required, default, description=marker.description if marker else "")
    if entry.kind != "route":
        if marker is not None:
            raise SignatureError(f"parameter {name}: {marker!r} belongs to requests; events have data")
        return found
    return _placed(entry, found, marker, annotation=annotation)


def _injected(name: str, annotation: Any) -> str | None:
    if annotation is Event or annotation is Context:
        return "event" if annotation is Event else "context"
    plain = annotation is inspect.Parameter.empty or annotation is Any
    return name if plain and name in ("event", "context") else None


def _marker(annotation: Any) -> Marker | None:
    if typing.get_origin(annotation) is not typing.Annotated:
        return None
    for one in annotation.__metadata__:
        if isinstance(one, type) and issubclass(one, Marker):
            return one()
        if isinstance(one, Marker):
            return one
    return None


def _placed(entry: Entry, found: Argument, marker: Marker | None, *, annotation: Any) -> Argument:
    """Say where the value of a route's parameter comes from (the rules stand in docs/app-files.md)."""
    plain = typing.get_args(annotation)[0] if marker is not None else annotation
    segment = next((one for one in entry.segments if one.name == found.name and one.kind != "text"), None)
    alias = marker.alias if marker is not None and marker.alias else found.name
    if segment is not None:
        if marker is not None:
            raise SignatureError(f"parameter {found.name}: it is in the path, {marker!r} says otherwise")
        if not found.shape.textual:
            raise SignatureError(f"parameter {found.name}: a part of the path can't be {found.shape.wanted}")
        return found._replace(source="path", required=True)
    if isinstance(marker, Body) or (marker is None and (found.shape.structured or plain is bytes)):
        form = "bytes" if plain is bytes else "text" if plain is str else "json"
        return found._replace(source="body", key="body", form=form)
    if isinstance(marker, Header):
        key = (marker.alias or found.name.replace("_", "-")).lower()
        return _texts(found._replace(source="header", key=key))
    if isinstance(marker, Cookie):
        return _texts(found._replace(source="cookie", key=alias))
    if isinstance(marker, Query) or marker is None:
        return _texts(found._replace(source="query", key=alias))
    raise SignatureError(f"parameter {found.name}: {marker!r} says no place")


def _texts(found: Argument) -> Argument:
    """Return it with the items of what may be given more than once."""
    options = found.shape.options if isinstance(found.shape, Either) else [found.shape]
    items = next((one for one in options if isinstance(one, Items)), None)
    if items is not None and not items.item.textual:
        raise SignatureError(f"parameter {found.name}: items of a {found.source} parameter must be single values")
    if items is None and not found.shape.textual:
        raise SignatureError(f"parameter {found.name}: a {found.source} parameter can't be {found.shape.wanted}")
    return found._replace(items=items)


def _check(entry: Entry, arguments: tuple[Argument, ...]) -> None:
    if entry.kind != "route":
        several = [one.name for one in arguments if one.source == "data"]
        if len(several) > 1:
            raise SignatureError(f"parameters {', '.join(several)}: an event has one data; put them into one type")
        return
    names = {one.name for one in arguments}
    for segment in entry.segments:
        if segment.kind != "text" and segment.name not in names:
            raise SignatureError(f"the path has {{{segment.name}}}, which is no parameter of {entry.name}")
    bodies = [one.name for one in arguments if one.source == "body"]
    if len(bodies) > 1:
        raise SignatureError(f"parameters {', '.join(bodies)}: a request has one body; put them into one type")
    if bodies and all(method in _BODILESS for method in entry.methods):
        raise SignatureError(
            f"parameter {bodies[0]}: {'/'.join(entry.methods)} has no body; use another method, or plain parameters"
        )


def is_text(shape: Shape) -> bool:
    """Is it plain text, which everything fits?"""
    return shape is SCALARS[str]
