"""Types of libraries that the function brings: msgspec's and pydantic's convert and describe themselves.

Nothing is imported here: whoever uses such a type has imported its library.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from wisp.runtime.apps.shapes import Book, Shape, Wrong

_REFERENCE: Final = "#/components/schemas/{%s}"
_WHERE: Final = re.compile(r" - at `(?:key in )?\$(.*)`$")


def library_of(annotation: Any, metadata: tuple[Any, ...] = ()) -> Any:
    """Return the module that knows this type (msgspec or pydantic), or None."""
    if hasattr(annotation, "__struct_fields__"):
        return sys.modules.get("msgspec")
    if hasattr(annotation, "__pydantic_validator__") or hasattr(annotation, "__get_pydantic_core_schema__"):
        return sys.modules.get("pydantic")
    for one in metadata:
        home = type(one).__module__.partition(".")[0]
        if home == "msgspec":
            return sys.modules.get("msgspec")
        if home in ("pydantic", "annotated_types"):
            return sys.modules.get("pydantic")
    return None


def foreign_shape(annotation: Any, library: Any, *, structured: bool) -> Shape:
    """Return the shape of a type that a library knows."""
    kind = MsgspecShape if library.__name__ == "msgspec" else PydanticShape
    return kind(annotation, library, structured=structured)


class MsgspecShape(Shape):
    """A `msgspec.Struct`, or a type with `msgspec.Meta`. It tells the first thing that is wrong."""

    wanted = "an object"
    textual = True

    def __init__(self, annotation: Any, library: Any, *, structured: bool) -> None:
        self._annotation = annotation
        self._library = library
        self.structured = structured

    def distance(self, value: Any) -> int:
        return 0

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        return self._convert(value, at, wrong, strict=True)

    def parse(self, text: str, at: str, wrong: Wrong) -> Any:
        return self._convert(text, at, wrong, strict=False)

    def _convert(self, value: Any, at: str, wrong: Wrong, *, strict: bool) -> Any:
        try:
            return self._library.convert(value, type=self._annotation, strict=strict)
        except self._library.ValidationError as error:
            text = str(error)
            found = _WHERE.search(text)
            message = (text[: found.start()] if found else text).replace("`", "")
            return wrong.add(at + (found[1] if found else ""), message[:1].lower() + message[1:])

    def schema(self, book: Book) -> dict[str, Any]:
        (schema,), named = self._library.json.schema_components([self._annotation], ref_template=_REFERENCE % "name")
        for name, content in named.items():
            book.schemas.setdefault(name, content)
        return dict(schema)


class PydanticShape(Shape):
    """A pydantic model or dataclass, or a type with pydantic's constraints."""

    wanted = "an object"
    textual = True

    def __init__(self, annotation: Any, library: Any, *, structured: bool) -> None:
        self._annotation = annotation
        self._library = library
        self._adapter = library.TypeAdapter(annotation)
        self.structured = structured

    def distance(self, value: Any) -> int:
        return 0

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        try:
            return self._adapter.validate_python(value)
        except self._library.ValidationError as error:
            for one in error.errors(include_url=False, include_context=False, include_input=False):
                steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in one["loc"])
                message = str(one["msg"])
                wrong.add(at + steps, message[:1].lower() + message[1:])
            return wrong.take(Wrong())

    def parse(self, text: str, at: str, wrong: Wrong) -> Any:
        return self.read(text, at, wrong)

    def schema(self, book: Book) -> dict[str, Any]:
        found = dict(self._adapter.json_schema(ref_template=_REFERENCE % "model"))
        for name, content in found.pop("$defs", {}).items():
            book.schemas.setdefault(name, content)
        if isinstance(self._annotation, type) and found.get("type") == "object":
            return book.reference(self._annotation, lambda: found)
        return found
