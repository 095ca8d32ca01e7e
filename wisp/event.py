"""`Event`: what a handler gets, a CloudEvent (1.0). Everything is decoded on first use.

Source: CloudEvents 1.0.2, and its HTTP protocol binding §3.1 (binary content mode).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wisp.headers import Headers, Query

if TYPE_CHECKING:
    from datetime import datetime

    from wisp.runtime.invocation import Invocation

_REQUIRED = ("id", "source", "type", "subject", "time")


class HttpRequest:
    """The HTTP request an event came with.

    `path` is decoded and without the function's own prefix, which is `mount`; `peer` is the address of the client.
    """

    __slots__ = ("body", "headers", "method", "mount", "path", "peer", "query")

    def __init__(self, method: str, path: str, *, query: str = "", headers: Headers | None = None) -> None:
        self.method = method
        self.path = path
        self.query = Query(query)
        self.headers = headers if headers is not None else Headers()
        self.body = b""
        self.peer = ""
        self.mount = ""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method!r}, {self.path!r})"


class Event:
    """A CloudEvent.

    `data` is decoded by the content type: a JSON value, text, or bytes (None when there is no body); `raw` is the
    body as it came. `attributes` holds every context attribute as text, extensions included. `http` is None unless
    the event came over HTTP. A request without `ce-` headers is an event of type `http.request`.
    """

    __slots__ = (
        "_invocation",
        "attributes",
        "content_type",
        "data",
        "http",
        "id",
        "raw",
        "source",
        "subject",
        "time",
        "type",
    )

    _invocation: Invocation
    id: str
    source: str
    type: str
    subject: str | None
    time: datetime | None
    attributes: Mapping[str, str]
    content_type: str | None
    data: Any
    raw: bytes
    http: HttpRequest | None

    def __init__(
        self,
        type: str,
        data: Any = None,
        *,
        source: str = "",
        subject: str | None = None,
        id: str | None = None,
        **attributes: str,
    ) -> None:
        self.type = type
        self.data = data
        self.source = source
        self.subject = subject
        self.id = id if id is not None else _new_id()
        self.attributes = attributes
        self.http = None

    def __getattr__(self, name: str) -> Any:
        if name not in _FILLERS:
            raise AttributeError(f"'Event' object has no attribute {name!r}")
        _FILLERS[name](self)
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        return f"Event({self.type!r}, id={self.id!r}, source={self.source!r})"


class _Arrived(Event):
    """An event as it came; making one costs nothing, it is decoded when it is looked at."""

    __slots__ = ()

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation


_Arrived.__name__ = _Arrived.__qualname__ = "Event"
event_of = _Arrived


def _new_id() -> str:
    from uuid import uuid4

    return uuid4().hex


def _fill_attributes(event: Event) -> None:
    """Set id, source, type, subject, time, attributes and content_type."""
    found = _stored(event, "_invocation")
    if found is None:  # made by hand: what the maker left out
        event.time = _now()
        event.content_type = None
        return
    invocation: Invocation = found
    from urllib.parse import unquote

    request = invocation.request
    attributes: dict[str, str] = {}
    event.content_type = None
    for name, value in request.headers:
        if name.startswith(b"ce-"):
            attributes[name[3:].decode("latin-1")] = unquote(value.decode("latin-1"))
        elif name == b"content-type":
            event.content_type = value.decode("latin-1")
    given = "type" in attributes
    event.id = attributes.setdefault("id", invocation.id) if given or not invocation.is_http else invocation.id
    event.type = attributes["type"] if given else "http.request" if invocation.is_http else "event"
    event.source = attributes.get("source", "") if given else _unquoted(request.path)
    event.subject = attributes.get("subject")
    event.time = _time(attributes.get("time"), invocation.received_us)
    attributes.update(id=event.id, type=event.type, source=event.source)
    attributes.setdefault("specversion", "1.0")
    event.attributes = attributes


def _fill_raw(event: Event) -> None:
    invocation = _stored(event, "_invocation")
    if invocation is None:
        given = event.data
        if given is None or isinstance(given, bytes):
            event.raw = given or b""
        else:
            event.raw = (given if isinstance(given, str) else json.dumps(given)).encode()
        return
    event.raw = invocation.body


def _fill_data(event: Event) -> None:
    event.data = decoded(event.raw, event.content_type)


def _fill_http(event: Event) -> None:
    invocation: Invocation = _stored(event, "_invocation")
    if not invocation.is_http:
        event.http = None
        return
    request = invocation.request
    headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)
    http = HttpRequest(
        request.method, _unquoted(request.path), query=request.query.decode("latin-1"), headers=headers
    )
    http.body = invocation.body
    http.peer = request.peer
    http.mount = request.mount.decode("latin-1")
    event.http = http


_FILLERS: dict[str, Any] = dict.fromkeys((*_REQUIRED, "attributes", "content_type"), _fill_attributes)
_FILLERS.update(raw=_fill_raw, data=_fill_data, http=_fill_http)


def _stored(event: Event, name: str) -> Any:
    """Return a slot's value, or None when nothing was stored in it."""
    try:
        return object.__getattribute__(event, name)
    except AttributeError:
        return None


def decoded(raw: bytes, content_type: str | None) -> Any:
    """Return a body as the value its content type says: JSON, text, else bytes; None when it is empty.

    Raises: `ValueError` for a body that says it is JSON, or text in a known character set, and is not.
    """
    if not raw:
        return None
    kind, _, parameters = (content_type or "").partition(";")
    kind = kind.strip().lower()
    if kind in ("application/json", "text/json") or kind.endswith("+json"):
        return json.loads(raw)
    if kind.startswith("text/"):
        return raw.decode(_charset(parameters))
    return raw


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"') or "utf-8"
    return "utf-8"


def _unquoted(path: bytes) -> str:
    if b"%" not in path:
        return path.decode("latin-1")
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path).decode("utf-8", "replace")


def _now() -> datetime:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def _time(text: str | None, received_us: int) -> datetime:
    from datetime import UTC, datetime, timedelta

    if text:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass  # a time that is none is not worth failing the event for
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=received_us)
