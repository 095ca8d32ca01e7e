"""Which route answers a request: a tree over the parts of a path, built once. Pure.

A written part comes before a parameter, a parameter before the rest of a path. Where the best path has no route for
the method, the next best that has one answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

from wisp.runtime.apps.paths import Segment, split_path


class Routed(Protocol):
    """What can be found: its pattern, and the methods it answers."""

    @property
    def segments(self) -> tuple[Segment, ...]: ...

    @property
    def methods(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=Routed)


class Found(NamedTuple, Generic[R]):
    """A route and the values of its path parameters."""

    route: R
    values: dict[str, str]


class Missing(NamedTuple):
    """No route. `allow` are the methods that the path has; none: there is nothing at this path."""

    allow: tuple[str, ...]


class _Node(Generic[R]):
    __slots__ = ("one", "rest", "routes", "texts")

    def __init__(self) -> None:
        self.texts: dict[str, _Node[R]] = {}
        self.one: _Node[R] | None = None
        self.rest: dict[str, R] = {}
        self.routes: dict[str, R] = {}


class Router(Generic[R]):
    """Routes by method and path. No two of them may match the same paths with the same method."""

    def __init__(self, routes: Iterable[R]) -> None:
        self._root: _Node[R] = _Node()
        self._exact: dict[tuple[str, bytes], Found[R]] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: R) -> None:
        node, place = self._root, self._root.routes
        for kind, name in route.segments:
            if kind == "rest":
                place = node.rest
                break
            if kind == "one":
                node.one = node.one or _Node()
                node = node.one
            else:
                node = node.texts.setdefault(name, _Node())
            place = node.routes
        for method in route.methods:
            place[method] = route
        if all(kind == "text" and name.isascii() and not {"%", "/"} & set(name) for kind, name in route.segments):
            path = "/" + "/".join(name for _, name in route.segments)
            for method in route.methods:  # what most calls are: found without taking the path apart
                self._exact[method, path.encode()] = Found(route, {})

    def match(self, method: str, path: bytes) -> Found[R] | Missing:
        """Return the route for a method and a path as it came. A slash at the end makes no difference."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        parts, trailing = split_path(path)
        search = _Search[R](method, parts, trailing)
        found = search.walk(self._root, 0)
        if found is None:
            return Missing(tuple(sorted(search.allow)))
        values = iter(search.values)
        return Found(found, {name: next(values) for kind, name in found.segments if kind != "text"})


class _Search(Generic[R]):
    """One walk down the tree; as deep as the deepest pattern, whatever the path."""

    def __init__(self, method: str, parts: list[str], trailing: bool) -> None:
        self._method = method
        self._parts = parts
        self._trailing = trailing
        self.values: list[str] = []
        self.allow: set[str] = set()

    def walk(self, node: _Node[R], index: int) -> R | None:
        parts = self._parts
        if index == len(parts):
            found = self._here(node.routes)
            if found is not None:
                return found
        else:
            part = parts[index]
            below = node.texts.get(part)
            found = self.walk(below, index + 1) if below is not None else None
            if found is not None:
                return found
            if node.one is not None and part:
                self.values.append(part)
                found = self.walk(node.one, index + 1)
                if found is not None:
                    return found
                self.values.pop()
        found = self._here(node.rest) if node.rest else None
        if found is not None:
            left = "/".join(parts[index:])
            self.values.append(left + "/" if left and self._trailing else left)
        return found

    def _here(self, routes: dict[str, R]) -> R | None:
        found = routes.get(self._method)
        if found is None and self._method == "HEAD":
            found = routes.get("GET")
        if found is None:
            self.allow.update(routes)
            if "GET" in routes:
                self.allow.add("HEAD")
        return found
