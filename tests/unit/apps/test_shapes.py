"""What annotations accept, what they refuse, and where they say it is."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict, Union
from uuid import UUID

import jsonschema
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wisp.runtime.apps.annotations import AnnotationError, Shapes
from wisp.runtime.apps.shapes import BAD, PROBLEMS_MAX, Book, Wrong

UserId = NewType("UserId", int)
U = UUID("6f1c0f0e-98a5-4c8e-9a45-5f4ab1d8f7f1")


class Color(enum.Enum):
    RED = "red"
    ONE = 1


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Address(TypedDict):
    city: str
    zip: NotRequired[str]


@dataclass
class Item:
    """Something in an order."""

    sku: str
    price: Decimal
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("count must be 1 or more")


@dataclass
class Tree:
    name: str
    below: list[Tree] = field(default_factory=list)


class Meter(msgspec.Struct):
    value: float
    unit: Literal["m", "ft"] = "m"


class Model(pydantic.BaseModel):
    size: int = pydantic.Field(ge=1)
    tags: list[str] = []


@dataclass
class Add:
    left: Add | Multiply | Number
    right: Add | Multiply | Number
    kind: Literal["add"] = "add"


@dataclass
class Multiply:
    left: Add | Multiply | Number
    right: Add | Multiply | Number
    kind: Literal["multiply"] = "multiply"


@dataclass
class Number:
    value: int


@dataclass
class Left:
    below: Left | Right | int


@dataclass
class Right:
    below: Left | Right | int


@dataclass
class Secret:
    seed: InitVar[int]


def read(annotation: Any, value: Any) -> Any:
    wrong = Wrong()
    found = Shapes().of(annotation).read(value, "body", wrong)
    assert (found is BAD) == bool(wrong.count)
    return found if not wrong.count else wrong.lines()


def parse(annotation: Any, text: str) -> Any:
    wrong = Wrong()
    found = Shapes().of(annotation).parse(text, "query.x", wrong)
    return found if not wrong.count else wrong.lines()


@pytest.mark.parametrize(
    ("annotation", "value", "found"),
    [
        (str, "a", "a"),
        (int, 7, 7),
        (int, 7.0, 7),
        (float, 7, 7.0),
        (bool, True, True),
        (bytes, "aGk=", b"hi"),
        (UUID, str(U), U),
        (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (date, "2026-01-02", date(2026, 1, 2)),
        (time, "03:04:05", time(3, 4, 5)),
        (Decimal, "1.10", Decimal("1.10")),
        (Decimal, 1.5, Decimal("1.5")),
        (Color, "red", Color.RED),
        (Color, 1, Color.ONE),
        (Literal["a", 2], 2, 2),
        (Literal["a", 2], 2.0, 2),
        (Optional[int], None, None),  # noqa: UP045
        (Union[int, str], "7", "7"),  # noqa: UP007
        (str | int, 7, 7),
        (str | UUID, str(U), U),
        (list[int], [1, 2], [1, 2]),
        (Sequence[int], [1], [1]),
        (set[str], ["a", "a"], {"a"}),
        (frozenset, [1], frozenset({1})),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple, [1, "a"], (1, "a")),
        (dict[str, int], {"a b": 1}, {"a b": 1}),
        (Mapping[UUID, int], {str(U): 1}, {U: 1}),
        (dict, {"a": [1]}, {"a": [1]}),
        (Any, {"a": None}, {"a": None}),
        (UserId, 5, 5),
        (Annotated[int, "a note"], 5, 5),
        (Point, [1, 2], Point(1.0, 2.0)),
        (Point, [1], Point(1.0)),
        (Address, {"city": "Ulm", "other": 1}, {"city": "Ulm"}),
        (Item, {"sku": "a", "price": "1.10"}, Item("a", Decimal("1.10"))),
        (Tree, {"name": "a", "below": [{"name": "b"}]}, Tree("a", [Tree("b")])),
        (Meter, {"value": 1}, Meter(1.0)),
        (Model, {"size": 3}, Model(size=3)),
        (list[Model], [{"size": 3}], [Model(size=3)]),
        (Meter | None, None, None),
    ],
)
def test_what_fits(annotation: Any, value: Any, found: Any) -> None:
    got = read(annotation, value)
    assert got == found
    assert type(got) is type(found)


@pytest.mark.parametrize(
    ("annotation", "value", "lines"),
    [
        (int, "7", ['body: expected an integer, got "7"']),
        (int, True, ["body: expected an integer, got true"]),
        (int, 7.5, ["body: expected an integer, got 7.5"]),
        (float, 10**400, [f"body: expected a number, got {str(10**400)[:59]}…"]),
        (bool, 1, ["body: expected true or false, got 1"]),
        (str, None, ["body: expected text, got null"]),
        (bytes, "?", ['body: expected bytes as base64, got "?"']),
        (UUID, "{" + str(U) + "}", [f'body: expected a UUID, got "{{{U}}}"']),
        (date, "20260102", ['body: expected a date (YYYY-MM-DD), got "20260102"']),
        (datetime, "now", ['body: expected a date and time (ISO 8601), got "now"']),
        (Decimal, "1e99999", ['body: expected a decimal number, got "1e99999"']),
        (Color, "blue", ['body: expected one of "red", 1, got "blue"']),
        (Color, True, ['body: expected one of "red", 1, got true']),
        (int | None, "x", ['body: expected an integer or null, got "x"']),
        (int | UUID | str, [], ["body: expected an integer, a UUID or text, got a list"]),
        (list[int], {}, ["body: expected a list, got an object"]),
        (
            list[int],
            [1, "x", None],
            ['body[1]: expected an integer, got "x"', "body[2]: expected an integer, got null"],
        ),
        (tuple[int, int], [1], ["body: expected a list of 2 items, got a list of 1"]),
        (dict[str, int], {"a b": "x"}, ['body["a b"]: expected an integer, got "x"']),
        (dict[int, int], {"a": 1}, ['the key body.a: expected an integer, got "a"']),
        (Item, [], ["body: expected an object, got a list"]),
        (
            Item,
            {"price": "x", "count": "y"},
            [
                "body.sku: is missing, expected text",
                'body.price: expected a decimal number, got "x"',
                'body.count: expected an integer, got "y"',
            ],
        ),
        (Item, {"sku": "a", "price": 1, "count": 0}, ["body: count must be 1 or more"]),
        (list[Item] | None, [{"sku": "a"}], ["body[0].price: is missing, expected a decimal number"]),
        (Tree, {"name": "a", "below": [{"name": 1}]}, ["body.below[0].name: expected text, got 1"]),
        (Address, {"zip": 1}, ["body.city: is missing, expected text", "body.zip: expected text, got 1"]),
        (Meter, {"value": "x"}, ["body.value: expected float, got str"]),
        (list[Meter], [{"value": 1}, {}], ["body[1]: object missing required field value"]),
        (
            Model,
            {"size": 0, "tags": ["a", 1]},
            ["body.size: input should be greater than or equal to 1", "body.tags[1]: input should be a valid string"],
        ),
    ],
)
def test_what_does_not_fit_is_named(annotation: Any, value: Any, lines: list[str]) -> None:
    assert read(annotation, value) == lines


@pytest.mark.parametrize(
    ("annotation", "text", "found"),
    [
        (int, "-7", -7),
        (float, "1e3", 1000.0),
        (bool, "Yes", True),
        (bool, "0", False),
        (str, "7", "7"),
        (int | str, "7", 7),
        (int | str, "x", "x"),
        (Literal[1, "a"], "1", 1),
        (Color, "1", Color.ONE),
        (Decimal, ".5", Decimal("0.5")),
        (Annotated[int, pydantic.Field(ge=3)], "4", 4),
        (Annotated[int, msgspec.Meta(ge=3)], "4", 4),
        (int, "1_000", ['query.x: expected an integer, got "1_000"']),
        (int, " 1", ['query.x: expected an integer, got " 1"']),
        (int, "1" * 5000, [f'query.x: expected an integer, got "{"1" * 58}…']),
        (int, "٣", ['query.x: expected an integer, got "٣"']),
        (float, "nan", ['query.x: expected a number, got "nan"']),
        (float, "1e999", ['query.x: expected a number, got "1e999"']),
        (bool, "", ['query.x: expected true or false, got ""']),
        (int | None, "null", ['query.x: expected an integer or null, got "null"']),
        (Annotated[int, pydantic.Field(ge=3)], "2", ["query.x: input should be greater than or equal to 3"]),
        (Annotated[int, msgspec.Meta(ge=3)], "2", ["query.x: expected int >= 3"]),
    ],
)
def test_text(annotation: Any, text: str, found: Any) -> None:
    assert parse(annotation, text) == found


def nested(depth: int, last: Any) -> Any:
    for _ in range(depth):
        last = {"kind": "multiply", "left": {"value": 1}, "right": last}
    return last


def test_unions_are_told_apart_by_their_surface() -> None:
    """To read an object once for each option would double on every level: two to the power of a hundred here."""
    found = read(Add | Multiply | Number, nested(100, {"value": 2}))
    assert isinstance(found, Multiply)
    assert isinstance(found.right, Multiply)
    (line,) = read(Add | Multiply | Number, nested(100, {"value": "x"}))
    assert line == f'body{".right" * 100}.value: expected an integer, got "x"'
    assert read(Add | Number, {"kind": "add", "left": {}, "right": 1}) == [
        "body.left.value: is missing, expected an integer",
        "body.right: expected an object, got 1",
    ]


def test_what_can_not_be_told_apart_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wisp.runtime.apps.shapes.ATTEMPTS_MAX", 100)
    value: Any = "x"
    for _ in range(40):
        value = {"below": value}
    (line,) = read(Left | Right, value)
    assert "may be too many things" in line


def test_problems_are_counted_and_bounded() -> None:
    lines = read(list[int], ["x"] * 1000)
    assert len(lines) == PROBLEMS_MAX + 1
    assert lines[-1] == f"and {1000 - PROBLEMS_MAX} more"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (complex, "complex"),
        (list[complex], "complex"),
        (type, "type"),
        (dict[Item, int], "can't be written as text"),
        (Secret, "InitVar seed"),
    ],
)
def test_what_nothing_can_be_read_into(annotation: Any, words: str) -> None:
    with pytest.raises(AnnotationError, match=words):
        Shapes().of(annotation)


# Where JSON Schema can say exactly what a type takes, both must agree on every value.
EXACT = (
    str, int, float, bool, None, list[int], dict[str, bool], int | None, str | list[str], Literal["a", 1, None],
    Color, tuple[int, str], Point, Address, Tree, list[Tree] | bool, dict[str, Address],
)  # fmt: skip
KEYS = st.sampled_from(["city", "zip", "name", "below", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([1.0, 0.5]) | st.sampled_from(["a", "red", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(EXACT), VALUES)
def test_the_schema_says_what_is_read(annotation: Any, value: Any) -> None:
    book, shape, wrong = Book(), Shapes().of(annotation), Wrong()
    schema = shape.schema(book) | {"components": {"schemas": book.schemas}}
    valid = jsonschema.Draft202012Validator(schema).is_valid(value)
    found = shape.read(value, "body", wrong)
    assert valid == (found is not BAD), (schema, value, wrong.lines())
