"""From a request to the arguments of a call. All that is wrong is told at once."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from wisp.headers import Query
from wisp.runtime.apps.shapes import BAD, Wrong, shown
from wisp.runtime.apps.signatures import Argument
from wisp.runtime.invocation import Invocation, Request

_WIDE: Final = ("query", "header", "cookie")
_DEEP: Final = "is nested too deeply"


class UnsupportedBody(Exception):
    """The body is of a type that this route does not take."""

    def __init__(self, content_type: str) -> None:
        super().__init__(content_type)
        self.content_type = content_type


class Values:
    """The texts of one request: query, headers, cookies, each taken apart when it is first asked for."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._query: Query | None = None
        self._cookies: dict[str, list[str]] | None = None

    def all(self, source: str, key: str) -> list[str]:
        """Return every text of a parameter."""
        if source == "query":
            if self._query is None:
                self._query = Query(self._request.query.decode("latin-1"))
            return self._query.all(key)
        if source == "header":
            wanted = key.encode()
            return [value.decode("latin-1") for name, value in self._request.headers if name == wanted]
        if self._cookies is None:
            self._cookies = _cookies(self.all("header", "cookie"))
        return self._cookies.get(key, [])


def _cookies(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        for pair in line.split(";"):
            name, mark, value = pair.partition("=")
            if mark:
                found.setdefault(name.strip(), []).append(value.strip().strip('"'))
    return found


def bind(
    arguments: tuple[Argument, ...], invocation: Invocation, path: dict[str, str], given: dict[str, Any], wrong: Wrong
) -> dict[str, Any]:
    """Return the arguments by name; what is wrong is in `wrong`. `given` are event and context.

    Raises: `UnsupportedBody`.
    """
    request = invocation.request
    values = Values(request)
    found = {}
    for argument in arguments:
        source = argument.source
        if source in given:
            found[argument.name] = given[source]
        elif source == "path":
            found[argument.name] = argument.shape.parse(path[argument.key], argument.place, wrong)
        elif source in _WIDE:
            found[argument.name] = _texts(argument, values.all(source, argument.key), wrong)
        else:
            found[argument.name] = _body(argument, invocation, wrong)
    return found


def _texts(argument: Argument, texts: list[str], wrong: Wrong) -> Any:
    if not texts:
        if argument.required:
            return wrong.add(argument.place, f"is missing, expected {argument.shape.wanted}")
        return argument.default
    if argument.items is not None:
        return argument.items.parse_all(texts, argument.place, wrong)
    if len(texts) > 1:
        return wrong.add(argument.place, f"is given {len(texts)} times, expected {argument.shape.wanted}")
    return argument.shape.parse(texts[0], argument.place, wrong)


def _body(argument: Argument, invocation: Invocation, wrong: Wrong) -> Any:
    body = invocation.body
    if not body:
        if argument.form == "bytes" and argument.required:
            return b""
        if argument.required:
            return wrong.add("body", f"is missing, expected {argument.shape.wanted}")
        return argument.default
    if argument.form == "bytes":
        return body
    if argument.form == "text":
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            return wrong.add("body", f"is not UTF-8: {error.reason} at byte {error.start}")
    content_type = (invocation.request.header(b"content-type") or b"").decode("latin-1")
    if not is_json(content_type):
        raise UnsupportedBody(content_type)
    value = json_value(body, wrong)
    if value is BAD:
        return BAD
    try:
        return argument.shape.read(value, "body", wrong)
    except RecursionError:
        return wrong.add("body", _DEEP)


def is_json(content_type: str) -> bool:
    """Is it JSON? A body without a type is not: a web page of somebody else could send it (no preflight)."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def json_value(body: bytes, wrong: Wrong) -> Any:
    """Return the JSON value of a body, or `BAD`."""
    try:
        return json.loads(body.decode(), parse_constant=_no_constant)
    except RecursionError:
        return wrong.add("body", _DEEP)
    except UnicodeDecodeError as error:
        return wrong.add("body", f"is not UTF-8: {error.reason} at byte {error.start}")
    except json.JSONDecodeError as error:
        return wrong.add("body", f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    except ValueError as error:
        return wrong.add("body", f"is not JSON: {error}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{shown(name)} is no value of JSON")
