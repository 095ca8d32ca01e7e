"""Shapes: what an annotation accepts. Each reads JSON values and text, and says its JSON Schema.

What does not fit is collected in a `Wrong`, with where it is: `body.items[2].price`. Then `BAD` is returned.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

PROBLEMS_MAX: Final = 50  # of one request are told; the rest is counted
SHOWN_MAX: Final = 60  # characters of a wrong value
ATTEMPTS_MAX: Final = 1_000_000  # objects of one request that were taken for what they are not
FAR: Final = 1_000_000  # how far a value is from a shape that can't be it


class _Bad:
    """The value of what did not fit."""

    def __repr__(self) -> str:
        return "BAD"


BAD: Final = _Bad()


class Wrong:
    """What is wrong with a request: (where, message), in order."""

    def __init__(self, spent: list[int] | None = None) -> None:
        self.found: list[tuple[str, str]] = []
        self.count = 0
        self.spent = spent if spent is not None else [0]  # attempts that failed, shared with those inside

    def add(self, at: str, message: str) -> _Bad:
        """Note one; return `BAD`."""
        self.count += 1
        if self.count <= PROBLEMS_MAX:
            self.found.append((at, message))
        return BAD

    def expected(self, at: str, wanted: str, value: object) -> _Bad:
        return self.add(at, f"expected {wanted}, got {shown(value)}")

    def take(self, other: Wrong) -> _Bad:
        """Take over what another one collected."""
        self.found += other.found[: PROBLEMS_MAX - len(self.found)]
        self.count += other.count
        return BAD

    def lines(self) -> list[str]:
        lines = [f"{at}: {message}" for at, message in self.found]
        if self.count > len(lines):
            lines.append(f"and {self.count - len(lines)} more")
        return lines


def shown(value: object) -> str:
    """Return a value for people, short."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return type(value).__name__
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def below(at: str, key: str) -> str:
    """Return where a member of an object is."""
    return f"{at}.{key}" if key.isidentifier() else f"{at}[{shown(key)}]"


class Book:
    """The named schemas of a document (`components.schemas`)."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}
        self._names: dict[Any, str] = {}

    def reference(self, cls: Any, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a reference to the schema of a class; it is built once, and may refer to itself."""
        name = self._names.get(cls)
        if name is None:
            name = cls.__name__
            if name in self.schemas:
                name = f"{cls.__module__}.{cls.__qualname__}".replace("<", "").replace(">", "")
            self._names[cls] = name
            self.schemas[name] = {}
            self.schemas[name] = build()
        return {"$ref": f"#/components/schemas/{name}"}


class Shape:
    """Base of all shapes. `wanted` says for people what fits; `textual`: can it be written as one text?"""

    wanted = "anything"
    textual = False
    structured = False  # does it come as a body where nothing else is said?

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        """Return the Python value of a JSON value, or `BAD`."""
        raise NotImplementedError

    def parse(self, text: str, at: str, wrong: Wrong) -> Any:
        """Return the Python value of a text, or `BAD`."""
        return wrong.expected(at, self.wanted, text)

    def distance(self, value: Any) -> int:
        """Return how far an object or list is from this shape by what is on its surface; 0: it may fit."""
        return FAR

    def schema(self, book: Book) -> dict[str, Any]:
        raise NotImplementedError


class Anything(Shape):
    """`Any`, `object`, and no annotation inside of a list or dict."""

    textual = True
    structured = True

    def distance(self, value: Any) -> int:
        return 0

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        return value

    def parse(self, text: str, at: str, wrong: Wrong) -> Any:
        return text

    def schema(self, book: Book) -> dict[str, Any]:
        return {}


class Choice(Shape):
    """`Literal` and `Enum`: one of a few values, each with what it is in Python."""

    textual = True

    def __init__(self, pairs: list[tuple[Any, Any]], cls: Any = None) -> None:
        self._pairs = pairs
        self._cls = cls
        self._texts: dict[str, Any] = {}
        for wire, value in pairs:
            self._texts.setdefault(_text_of(wire), value)
        shortly = ", ".join(shown(wire) for wire, _ in pairs[:20])
        self.wanted = f"one of {shortly}" if len(pairs) > 1 else shortly

    @property
    def wires(self) -> list[Any]:
        """The values as JSON has them."""
        return [wire for wire, _ in self._pairs]

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        for wire, found in self._pairs:
            # True is not 1, but 1.0 is: JSON has one kind of number (JSON Schema 2020-12 §4.2.2).
            if wire == value and (type(wire) is bool) == (type(value) is bool):
                return found
        return wrong.expected(at, self.wanted, value)

    def parse(self, text: str, at: str, wrong: Wrong) -> Any:
        if text in self._texts:
            return self._texts[text]
        return wrong.expected(at, self.wanted, text)

    def schema(self, book: Book) -> dict[str, Any]:
        return {"enum": self.wires} if self._cls is None else book.reference(self._cls, self._enum)

    def _enum(self) -> dict[str, Any]:
        return {"title": self._cls.__name__, "enum": self.wires}


def _text_of(wire: Any) -> str:
    return (
        {True: "true", False: "false", None: "null"}[wire]
        if wire is None or wire is True or wire is False
        else str(wire)
    )


class Either(Shape):
    """A union: the first that fits, in the order written, plain text last."""

    def __init__(self, options: list[Shape]) -> None:
        self.options = options
        self.textual = any(option.textual for option in options)
        self.structured = any(option.structured for option in options)
        self._solid = [option for option in options if not isinstance(option, Nothing)]
        words = list(dict.fromkeys(option.wanted for option in self._solid))
        if len(self._solid) < len(options):
            words.append("null")
        self.wanted = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))

    @property
    def nullable(self) -> bool:
        return len(self._solid) < len(self.options)

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        options = self._solid
        if value is None and self.nullable:
            return None
        if type(value) in (dict, list):
            # By the surface first: to read the same object once for each option would double on every level.
            distances = [option.distance(value) for option in options]
            nearest = min(distances)
            if nearest >= FAR:
                return wrong.expected(at, self.wanted, value)
            options = [one for one, far in zip(options, distances, strict=True) if far == nearest]
            if len(options) == 1:
                return options[0].read(value, at, wrong)
        return self._first(options, value, at, wrong=wrong)

    def _first(self, options: list[Shape], value: Any, at: str, *, wrong: Wrong) -> Any:
        attempts = []
        for option in options:
            attempt = Wrong(wrong.spent)
            found = option.read(value, at, attempt)
            if found is not BAD:
                return found
            wrong.spent[0] += 1
            if wrong.spent[0] > ATTEMPTS_MAX:
                return wrong.add(at, "may be too many things; give its types a field that is a Literal")
            attempts.append(attempt)
        # What went wrong inside of an object or list says more than that neither fits.
        inside = [one for one in attempts if one.found and one.found[0][0] != at]
        if inside:
            return wrong.take(min(inside, key=lambda one: one.count))
        return wrong.expected(at, self.wanted, value)

    def parse(self, text: str, at: str, wrong: Wrong) -> Any:
        for option in self._solid:
            found = option.parse(text, at, Wrong())
            if found is not BAD:
                return found
        return wrong.expected(at, self.wanted, text)

    def distance(self, value: Any) -> int:
        return min(option.distance(value) for option in self.options)

    def schema(self, book: Book) -> dict[str, Any]:
        return {"anyOf": [option.schema(book) for option in self.options]}


class Nothing(Shape):
    """`None`."""

    wanted = "null"

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        return None if value is None else wrong.expected(at, self.wanted, value)

    def schema(self, book: Book) -> dict[str, Any]:
        return {"type": "null"}
