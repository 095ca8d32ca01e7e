"""The OpenAPI document of the control API, made from what its routes declare. Source: OpenAPI 3.1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from types import NoneType
from typing import Any, Final, get_args

import msgspec
from fastapi.routing import APIRoute
from msgspec import Struct

from wispd.api.admin_problems import CONTENT_TYPE
from wispd.api.conditional import IF_MATCH_PATTERN, IF_NONE_MATCH_PATTERN
from wispd.api.faults import PAGES
from wispd.api.permitting import AnyQuery, Declared, Raw
from wispd.base.errors import CODES
from wispd.model.function import NAME_PATTERN

JSON: Final = "application/json"
_PLACE: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
_NAMED: Final = ("namespace", "name", "alias")
_BODIED: Final = ("POST", "PUT", "PATCH")
_CHANGING: Final = (*_BODIED, "DELETE")
_ABOUT: Final = (
    "Everything that the command line does goes through here. Lists are `{items, next}`: pass `next` as `cursor` for "
    "the next page. Errors are problem details (RFC 9457) whose `type` is the page that explains the `code`."
)


_CONDITIONS: Final = tuple(
    {"name": name, "in": "header", "required": False, "schema": {"type": "string", "pattern": pattern}}
    | {"description": what}
    for name, pattern, what in (
        ("If-Match", IF_MATCH_PATTERN, "Only if its ETag is this one; `*`: only if it is there."),
        ("If-None-Match", IF_NONE_MATCH_PATTERN, "`*`: only if it is not there yet."),
    )
)


class Problem(Struct, frozen=True, kw_only=True):
    """Why it was refused or failed. Facts of the code, such as `limit`, are members of their own."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool


def openapi_document(routes: Sequence[tuple[APIRoute, Declared]]) -> dict[str, Any]:
    """Return the document."""
    shapes = _Shapes(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route, declared in routes:
        path = _PLACE.sub(r"{\1}", route.path)
        for method in sorted(route.methods or ()):
            paths.setdefault(path, {})[method.lower()] = _operation(route, declared, method, shapes)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Wisp control API", "version": "1", "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": shapes.components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "`wisp token create`"}},
        },
    }


class _Shapes:
    """The JSON Schemas of all types that the routes name."""

    def __init__(self, routes: Sequence[tuple[APIRoute, Declared]]) -> None:
        self._types: list[Any] = [Problem]
        for _, declared in routes:
            self._types += [kind for kind in (_body(declared), declared.returns) if _is_type(kind)]
            self._types += [field.type for field in _fields(declared)]
        schemas, components = msgspec.json.schema_components(self._types, ref_template="#/components/schemas/{name}")
        self._schemas = schemas
        self.components = components

    def of(self, kind: Any) -> dict[str, Any]:
        return dict(self._schemas[next(i for i, known in enumerate(self._types) if known is kind or known == kind)])


def _operation(route: APIRoute, declared: Declared, method: str, shapes: _Shapes) -> dict[str, Any]:
    places = _PLACE.findall(route.path)
    codes = error_codes(declared, method, places=bool(places))
    summary, _, more = (route.endpoint.__doc__ or "").strip().partition("\n")
    found: dict[str, Any] = {
        "operationId": operation_id(method, route.path),
        "tags": [_tag(route.path)],
        "summary": summary,
        "parameters": [
            *(_place(name) for name in places),
            *(_parameter(field, shapes) for field in _fields(declared)),
            *(_CONDITIONS if declared.tagged and method in _CHANGING else ()),
        ],
        "responses": _answers(route, declared, shapes) | _problems(codes, route),
        "x-wisp-permission": declared.permission,
        "x-wisp-scope": declared.scope,
        "security": [] if declared.scope == "open" else [{"token": []}],
    }
    if more.strip():
        found["description"] = " ".join(more.split())
    if method in _BODIED and declared.takes is not None:
        body = _body(declared)
        required = body is declared.takes and not _is_anything(body)
        found["requestBody"] = {"required": required, "content": _content(body, shapes)}
    return found


def operation_id(method: str, path: str) -> str:
    """Return a name that is unique, because method and path are."""
    words = re.sub(r"[^a-zA-Z0-9]+", "_", path.removeprefix("/v1")).strip("_")
    return f"{method.lower()}_{words}"


def error_codes(declared: Declared, method: str, *, places: bool) -> set[str]:
    """Return the codes that a route may answer, by what it declares."""
    codes = {"internal", "unavailable", "misdirected_request", *declared.errors}
    if declared.scope != "open":
        codes |= {"unauthenticated", "forbidden", "throttled"}
    if places:
        codes |= {"not_found", "invalid_argument"}
    if method in _BODIED:
        codes |= {"payload_too_large", "unsupported_media_type", "invalid_argument"}
    if method in _CHANGING:
        codes |= {"storage_full", "draining"} | ({"precondition_failed"} if declared.tagged else set())
    return codes | {"invalid_argument"}


def _answers(route: APIRoute, declared: Declared, shapes: _Shapes) -> dict[str, Any]:
    if _is_anything(declared.returns):
        return {"default": {"description": declared.returns.description, "content": {"*/*": {}}}}
    if declared.returns is None and route.status_code == 204:
        return {"204": {"description": "Done."}}
    returns = declared.returns if declared.returns is not None else Raw("A JSON document.", (JSON,))
    statuses = [str(route.status_code or 200), *(str(one) for one in route.responses if int(one) < 400)]
    headers = {"headers": {"ETag": _ETAG}} if declared.tagged else {}
    return {
        status: {"description": _STATUS.get(status, "The answer."), "content": _content(returns, shapes), **headers}
        for status in statuses
    }


_ETAG: Final = {
    "description": "What it is now, for `If-Match`.",
    "required": True,
    "schema": {"type": "string", "pattern": '^"[!#-~]{1,64}"$'},
}
_STATUS: Final = {"200": "The answer.", "201": "It is there now.", "202": "It was taken and goes on."}


def _problems(codes: Iterable[str], route: APIRoute) -> dict[str, Any]:
    """Return the answers of these codes; those of one status share an entry. The route may name more statuses."""
    by_status: dict[str, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(str(CODES[code][0]), []).append(code)
    for status in (one for one in route.responses if int(one) >= 400):
        by_status.setdefault(str(status), ["init_failed"])
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {
            "description": ", ".join(f"[`{code}`]({PAGES}/{code}.md)" for code in found),
            "content": {CONTENT_TYPE: schema},
        }
        for status, found in sorted(by_status.items())
    }


def _content(kind: Any, shapes: _Shapes) -> dict[str, Any]:
    if not isinstance(kind, Raw):
        return {JSON: {"schema": shapes.of(kind)}}
    names = [name for name in kind.content_types if name] or ["*/*"]
    schema = {"type": "object"} if names == [JSON] else {}
    return {name: {"schema": schema} for name in names}


def _place(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    if name in _NAMED:
        schema["pattern"] = NAME_PATTERN
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _parameter(field: msgspec.structs.FieldInfo, shapes: _Shapes) -> dict[str, Any]:
    schema = shapes.of(field.type)
    if field.default is not msgspec.NODEFAULT and field.default is not None:
        schema = schema | {"default": field.default}
    found = {"name": field.encode_name, "in": "query", "required": field.required, "schema": schema}
    if "description" in schema:
        found["description"] = schema.pop("description")
    return found


def _fields(declared: Declared) -> tuple[msgspec.structs.FieldInfo, ...]:
    if declared.query is None or declared.query is AnyQuery:
        return ()
    return msgspec.structs.fields(declared.query)


def _tag(path: str) -> str:
    words = [word for word in path.split("/") if word and word != "v1"]
    if words[0] == "namespaces" and len(words) > 2:
        return words[2].partition(":")[0]
    return words[0]


def _body(declared: Declared) -> Any:
    """Return what a body is, where there is one."""
    kinds = get_args(declared.takes)
    return next(kind for kind in kinds if kind is not NoneType) if NoneType in kinds else declared.takes


def _is_type(kind: Any) -> bool:
    return kind is not None and not isinstance(kind, Raw)


def _is_anything(kind: Any) -> bool:
    return isinstance(kind, Raw) and not kind.content_types
