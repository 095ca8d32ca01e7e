"""The tree of routes finds what trying every route finds."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from hypothesis import given
from hypothesis import strategies as st

from wisp.runtime.apps.paths import Segment, parse_pattern, shape_of
from wisp.runtime.apps.routing import Found, Missing, Router

METHODS = ("GET", "POST", "DELETE")


class Route(NamedTuple):
    pattern: str
    segments: tuple[Segment, ...]
    methods: tuple[str, ...]


words = st.sampled_from(["a", "b", "new", "ä", "x y"])
parts = st.lists(words | st.just("{}"), max_size=4)


@st.composite
def routes(draw: st.DrawFn) -> list[Route]:
    """Routes of which no two match the same paths with the same method, as an App takes them."""
    found, taken = [], set()
    for _ in range(draw(st.integers(0, 8))):
        names = iter("pqrstuvw")
        texts = [f"{{{next(names)}}}" if part == "{}" else quote(part) for part in draw(parts)]
        if draw(st.booleans()):
            texts.append("{rest:path}")
        segments = parse_pattern("/" + "/".join(texts))
        methods = tuple(
            method
            for method in draw(st.lists(st.sampled_from(METHODS), min_size=1, unique=True))
            if (method, shape_of(segments)) not in taken
        )
        taken |= {(method, shape_of(segments)) for method in methods}
        if methods:
            found.append(Route("/" + "/".join(texts), segments, methods))
    return found


def naive(all_routes: list[Route], method: str, path: str) -> tuple[Route, dict[str, str]] | tuple[str, ...]:
    """Try every route; the most particular one that has the method wins, compared part by part."""
    bare = path[1:-1] if path.endswith("/") and path != "/" else path[1:]
    trailing = path.endswith("/") and path != "/"
    fitting = []
    for route in all_routes:
        expression = ""
        for kind, name in route.segments:
            slash = "/" if expression else ""
            if kind == "rest":
                expression += f"(?:{slash}(?P<{name}>.*))?" if expression else f"(?P<{name}>.*)"
            else:
                expression += slash + (re.escape(quote(name)) if kind == "text" else f"(?P<{name}>[^/]+)")
        found = re.fullmatch(expression, bare)
        if found is not None:
            values = {name: unquote(value or "") for name, value in found.groupdict().items()}
            if trailing and values.get("rest"):
                values["rest"] += "/"
            fitting.append((route, values))
    ranks = {"text": 0, "one": 1, "end": 2, "rest": 3}

    def rank(one: tuple[Route, dict[str, str]]) -> list[int]:
        return [ranks[kind] for kind, _ in (*one[0].segments, Segment("end", ""))]

    for route, values in sorted(fitting, key=rank):
        if method in route.methods or (method == "HEAD" and "GET" in route.methods):
            return route, values
    allow = {name for route, _ in fitting for name in route.methods}
    return tuple(sorted(allow | ({"HEAD"} if "GET" in allow else set())))


@given(
    routes(), st.sampled_from([*METHODS, "HEAD", "PUT"]), st.lists(words | st.just("%2F"), max_size=5), st.booleans()
)
def test_the_tree_agrees_with_trying_every_route(
    all_routes: list[Route], method: str, names: list[str], trailing: bool
) -> None:
    path = "/" + "/".join(name if name == "%2F" else quote(name) for name in names)
    path += "/" if trailing and names else ""
    found = Router(all_routes).match(method, path.encode())
    expected = naive(all_routes, method, path)
    if isinstance(found, Found):
        assert (found.route, found.values) == expected
    else:
        assert isinstance(found, Missing)
        assert found.allow == expected


@given(routes(), st.binary(max_size=60).map(lambda path: b"/" + path.replace(b"?", b"")))
def test_no_path_breaks_the_tree(all_routes: list[Route], path: bytes) -> None:
    found = Router(all_routes).match("GET", path)
    assert isinstance(found, Found | Missing)


def test_a_long_path_costs_no_more_depth_than_the_patterns() -> None:
    route = Route("/{rest:path}", parse_pattern("/{rest:path}"), ("GET",))
    path = b"/a" * 20_000
    found = Router([route]).match("GET", path)
    assert isinstance(found, Found)
    assert found.values == {"rest": path.decode()[1:]}
