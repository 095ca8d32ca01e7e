"""Shapes made of others: lists, tuples, dicts, and objects with fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from wisp.runtime.apps.shapes import BAD, FAR, Book, Choice, Shape, Wrong, below

MISSING: Final = object()  # the default of what has none


class Items(Shape):
    """`list[X]`, `set[X]`, `tuple[X, ...]`."""

    wanted = "a list"

    def __init__(self, item: Shape, make: Callable[[list[Any]], Any] = list, *, unique: bool = False) -> None:
        self.item = item
        self._make = make
        self._unique = unique
        self.structured = item.structured

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        if type(value) is not list:
            return wrong.expected(at, self.wanted, value)
        read, before = self.item.read, wrong.count
        found = [read(item, f"{at}[{index}]", wrong) for index, item in enumerate(value)]
        return self._make(found) if wrong.count == before else BAD

    def distance(self, value: Any) -> int:
        return 0 if type(value) is list else FAR

    def parse_all(self, texts: list[str], at: str, wrong: Wrong) -> Any:
        """Return the value of several texts: a parameter that is given more than once."""
        before = wrong.count
        several = len(texts) > 1
        found = [self.item.parse(text, f"{at}[{n}]" if several else at, wrong) for n, text in enumerate(texts)]
        return self._make(found) if wrong.count == before else BAD

    def schema(self, book: Book) -> dict[str, Any]:
        schema = {"type": "array", "items": self.item.schema(book)}
        return schema | {"uniqueItems": True} if self._unique else schema


class Row(Shape):
    """`tuple[X, Y]` and `NamedTuple`: a list of a certain length, each item with a shape of its own."""

    structured = True

    def __init__(
        self, shapes: list[Shape], make: Callable[[list[Any]], Any] = tuple, *, least: int | None = None
    ) -> None:
        self._shapes = shapes
        self._make = make
        self._least = len(shapes) if least is None else least
        count = str(len(shapes)) if self._least == len(shapes) else f"{self._least} to {len(shapes)}"
        self.wanted = f"a list of {count} item{'' if count == '1' else 's'}"

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        if type(value) is not list or not self._least <= len(value) <= len(self._shapes):
            got = f"a list of {len(value)}" if type(value) is list else None
            return (
                wrong.add(at, f"expected {self.wanted}, got {got}") if got else wrong.expected(at, self.wanted, value)
            )
        before = wrong.count
        pairs = zip(self._shapes, value, strict=False)
        found = [shape.read(item, f"{at}[{index}]", wrong) for index, (shape, item) in enumerate(pairs)]
        return self._make(found) if wrong.count == before else BAD

    def distance(self, value: Any) -> int:
        if type(value) is not list:
            return FAR
        return 0 if self._least <= len(value) <= len(self._shapes) else 1

    def schema(self, book: Book) -> dict[str, Any]:
        shapes = [shape.schema(book) for shape in self._shapes]
        return {"type": "array", "prefixItems": shapes, "minItems": self._least, "maxItems": len(shapes)}


class Table(Shape):
    """`dict[K, V]`. Keys are text in JSON: they are read as their type is written."""

    wanted = "an object"
    structured = True

    def __init__(self, key: Shape | None, value: Shape) -> None:
        self._key = key  # None: any text
        self._value = value

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        if type(value) is not dict:
            return wrong.expected(at, self.wanted, value)
        found, before = {}, wrong.count
        for name, item in value.items():
            inside = below(at, name)
            key = name if self._key is None else self._key.parse(name, f"the key {inside}", wrong)
            content = self._value.read(item, inside, wrong)
            if key is not BAD:
                found[key] = content
        return found if wrong.count == before else BAD

    def distance(self, value: Any) -> int:
        return 0 if type(value) is dict else FAR

    def schema(self, book: Book) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self._value.schema(book)}


class Field(NamedTuple):
    """A member of an object."""

    name: str
    shape: Shape
    required: bool
    default: Any = MISSING
    description: str = ""


class Record(Shape):
    """A dataclass or TypedDict. `fields` are set after it is made: they may refer to it. Unknown keys are ignored."""

    wanted = "an object"
    structured = True

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.fields: tuple[Field, ...] = ()

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        if type(value) is not dict:
            return wrong.expected(at, self.wanted, value)
        found: dict[str, Any] = {}
        before = wrong.count
        for name, shape, required, *_ in self.fields:
            if name in value:
                found[name] = shape.read(value[name], f"{at}.{name}", wrong)
            elif required:
                wrong.add(f"{at}.{name}", f"is missing, expected {shape.wanted}")
        if wrong.count > before:
            return BAD
        try:
            return self._cls(**found)
        except ValueError as error:  # its own __post_init__ refuses it
            return wrong.add(at, str(error) or type(error).__name__)

    def distance(self, value: Any) -> int:
        """Count the required keys that are missing, and the tags that say it is something else."""
        if type(value) is not dict:
            return FAR
        found = 0
        for name, shape, required, *_ in self.fields:
            if name not in value:
                found += required
            elif isinstance(shape, Choice) and shape.read(value[name], "", Wrong()) is BAD:
                found += 1
        return found

    def schema(self, book: Book) -> dict[str, Any]:
        return book.reference(self._cls, lambda: self._described(book))

    def _described(self, book: Book) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for field in self.fields:
            described = field.shape.schema(book) | ({"description": field.description} if field.description else {})
            members[field.name] = with_default(described, field.default)
        schema: dict[str, Any] = {"title": self._cls.__name__, "type": "object", "properties": members}
        required = [field.name for field in self.fields if field.required]
        if required:
            schema["required"] = required
        text = own_docstring(self._cls)
        return schema | ({"description": text} if text else {})


def with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    """Return a schema that names its default, where JSON has it."""
    plain = default is None or type(default) in (str, int, float, bool)
    return schema | {"default": default} if plain else schema


def own_docstring(cls: Any) -> str:
    """Return a class's docstring; the one that `dataclass` makes up does not count."""
    text = (cls.__dict__.get("__doc__") or "").strip()
    made_up = text.startswith(f"{cls.__name__}(") or cls.__name__ in ("dict",)
    return "" if made_up else text
