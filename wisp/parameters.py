"""Markers for an App's parameters, used as `Annotated[int, Query(alias="per-page")]`."""

from __future__ import annotations


class Marker:
    """Says where a parameter comes from, under which name, and what its description is."""

    __slots__ = ("alias", "description")

    def __init__(self, alias: str = "", *, description: str = "") -> None:
        self.alias = alias
        self.description = description

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.alias!r})" if self.alias else f"{type(self).__name__}()"


class Query(Marker):
    """From the query string."""

    __slots__ = ()


class Header(Marker):
    """From a header; without an alias its name is the parameter's, with hyphens for underscores."""

    __slots__ = ()


class Cookie(Marker):
    """From a cookie."""

    __slots__ = ()


class Body(Marker):
    """The request's body: JSON; for `bytes` and `str` as it came."""

    __slots__ = ()
