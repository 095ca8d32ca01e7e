"""Declared routes as a tree of path segments, per host. Readers find the longest match; see `RouteTree.find`."""

from __future__ import annotations

from typing import Final

from wispd.model.function import Route

_VISITS_MAX: Final = 512  # nodes looked at for one path: templates could otherwise be made to branch at every segment
_ANY: Final = b""


class _Node:
    """What is below one segment."""

    __slots__ = ("below", "ending", "prefix", "template")

    def __init__(self) -> None:
        self.below: dict[bytes, _Node] = {}
        self.template: _Node | None = None  # `{x}`: any one segment
        self.ending: dict[bytes, str] = {}  # method → function, for a path that ends here
        self.prefix: dict[bytes, str] = {}  # … for this path and all below it

    @property
    def empty(self) -> bool:
        return not (self.below or self.template or self.ending or self.prefix)


class _Search:
    """One look-up: depth first, the more exact branch first."""

    __slots__ = ("allow", "method", "segments", "visits")

    def __init__(self, segments: list[bytes], method: bytes) -> None:
        self.segments = segments
        self.method = method
        self.allow: set[bytes] = set()
        self.visits = 0

    def at(self, node: _Node, depth: int) -> str | None:
        self.visits += 1
        if self.visits > _VISITS_MAX:
            return None
        if depth == len(self.segments):
            return self._answers(node.ending) or self._answers(node.prefix)
        segment = self.segments[depth]
        below = node.below.get(segment)
        found = self.at(below, depth + 1) if below is not None else None
        if found is None and node.template is not None and segment:
            found = self.at(node.template, depth + 1)
        return found or self._answers(node.prefix)

    def _answers(self, methods: dict[bytes, str]) -> str | None:
        if not methods:
            return None
        key = methods.get(self.method) or methods.get(_ANY)
        if key is None and self.method == b"HEAD":
            key = methods.get(b"GET")
        if key is None:
            self.allow.update(methods)
        return key


class RouteTree:
    """Routes of all functions. A prefix `/a/*` also answers `/a`."""

    def __init__(self) -> None:
        self._hosts: dict[bytes, _Node] = {}

    def knows(self, host: bytes) -> bool:
        """Has a route of its own been declared for this host?"""
        return host != _ANY and host in self._hosts

    def find(self, host: bytes, segments: list[bytes], method: bytes) -> tuple[str | None, tuple[str, ...]]:
        """Return the function that answers, else the methods that would be answered on this path.

        Routes of the host win over those of every host; then literal segments over templates over prefixes, from
        left to right, so that the longest match wins. A route of another method does not stop the search.
        """
        search = _Search(segments, method)
        for name in (host, _ANY) if host != _ANY else (_ANY,):
            root = self._hosts.get(name)
            found = search.at(root, 0) if root is not None else None
            if found is not None:
                return found, ()
        if b"GET" in search.allow:
            search.allow.add(b"HEAD")
        return None, tuple(sorted(method.decode() for method in search.allow))

    def add(self, route: Route, key: str) -> None:
        """Let `key` answer the route; the last one declared wins."""
        node = self._hosts.setdefault(_host(route), _Node())
        segments, prefix = _split(route)
        for segment in segments:
            if _is_template(segment):
                node.template = node.template or _Node()
                node = node.template
            else:
                node = node.below.setdefault(segment, _Node())
        (node.prefix if prefix else node.ending)[_method(route)] = key

    def remove(self, route: Route, key: str) -> None:
        """Let `key` no longer answer the route; nothing happens if another one does."""
        host = _host(route)
        root = self._hosts.get(host)
        if root is None:
            return
        segments, prefix = _split(route)
        _cut(root, segments, prefix=prefix, method=_method(route), key=key)
        if root.empty:
            del self._hosts[host]


def _cut(node: _Node, segments: list[bytes], *, prefix: bool, method: bytes, key: str) -> None:
    """Remove one ending, and the nodes that are empty without it."""
    if not segments:
        methods = node.prefix if prefix else node.ending
        if methods.get(method) == key:
            del methods[method]
        return
    segment, rest = segments[0], segments[1:]
    template = _is_template(segment)
    below = node.template if template else node.below.get(segment)
    if below is None:
        return
    _cut(below, rest, prefix=prefix, method=method, key=key)
    if below.empty and template:
        node.template = None
    elif below.empty:
        del node.below[segment]


def _host(route: Route) -> bytes:
    return route.host.lower().encode("ascii", "replace")


def _method(route: Route) -> bytes:
    return route.method.upper().encode("ascii", "replace")


def _split(route: Route) -> tuple[list[bytes], bool]:
    segments = route.path.encode().split(b"/")[1:]
    if segments and segments[-1] == b"*":
        return segments[:-1], True
    return segments, False


def _is_template(segment: bytes) -> bool:
    return segment.startswith(b"{") and segment.endswith(b"}")
