"""From annotations to shapes."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from typing import Any, Final

from wisp.runtime.apps.foreign import foreign_shape, library_of
from wisp.runtime.apps.groups import MISSING, Field, Items, Record, Row, Table
from wisp.runtime.apps.scalars import SCALARS
from wisp.runtime.apps.shapes import Anything, Choice, Either, Nothing, Shape

_LISTS: Final = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Iterable,
                 collections.abc.Collection)  # fmt: skip
_SETS: Final = (set, collections.abc.Set, collections.abc.MutableSet)
_TABLES: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_FIELD_MARKS: Final = {"Required": True, "NotRequired": False, "ReadOnly": None}
_SUPPORTED: Final = (
    "str, int, float, bool, bytes, UUID, datetime, date, time, Decimal, Enum, Literal, Optional and Union, list, "
    "set, tuple, dict, dataclasses, TypedDict, NamedTuple, msgspec Structs and pydantic models"
)


class AnnotationError(TypeError):
    """An annotation that nothing can be read into."""


class Shapes:
    """Makes shapes. Each class gets one, so that classes may refer to each other."""

    def __init__(self) -> None:
        self._classes: dict[Any, Shape] = {}

    def of(self, annotation: Any) -> Shape:
        """Return the shape of a resolved annotation. Raises: `AnnotationError`."""
        if annotation in (Any, object) or isinstance(annotation, typing.TypeVar):
            return Anything()
        if annotation is None or annotation is type(None):
            return Nothing()
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            return self._annotated(annotation)
        if origin is not None:
            return self._generic(annotation, origin, typing.get_args(annotation))
        alias = getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)
        if alias is not None and not isinstance(annotation, type):
            return self.of(alias)  # NewType, and `type X = …`
        if not isinstance(annotation, type):
            raise unsupported(annotation)
        found = self._classes.get(annotation)
        return found if found is not None else self._class(annotation)

    def _annotated(self, annotation: Any) -> Shape:
        inner, *metadata = typing.get_args(annotation)
        library = library_of(inner, tuple(metadata))
        if library is None:
            return self.of(inner)
        if library.__name__ == "pydantic" and not hasattr(library, "TypeAdapter"):
            raise AnnotationError("pydantic before version 2 is not supported")
        return foreign_shape(
            annotation, library, structured=library_of(inner) is not None or self.of(inner).structured
        )

    def _generic(self, annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Shape:
        if origin in (typing.Union, types.UnionType):
            return self._union(arguments)
        if origin is typing.Literal:
            return Choice([(value, value) for value in arguments])
        if origin is tuple:
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                return Items(self.of(arguments[0]), tuple)
            return Row([self.of(one) for one in arguments if one != ()])
        if origin in _LISTS:
            return Items(self.of(arguments[0]))
        if origin in _SETS or origin is frozenset:
            return Items(self.of(arguments[0]), frozenset if origin is frozenset else set, unique=True)
        if origin in _TABLES:
            key = self.of(arguments[0])
            if not key.textual:
                raise AnnotationError(f"keys of {annotation} can't be written as text")
            return Table(None if key is SCALARS[str] else key, self.of(arguments[1]))
        library = library_of(origin)
        if library is not None:
            return foreign_shape(annotation, library, structured=True)
        raise unsupported(annotation)

    def _union(self, arguments: tuple[Any, ...]) -> Shape:
        if any(hasattr(one, "__struct_fields__") for one in arguments):
            library = library_of(next(one for one in arguments if hasattr(one, "__struct_fields__")))
            if sum(hasattr(one, "__struct_fields__") for one in arguments) > 1:
                return foreign_shape(typing.Union[arguments], library, structured=True)  # noqa: UP007
        shapes = [self.of(one) for one in arguments]
        plain = SCALARS[str]  # fits every text: what is more particular comes first
        return Either([one for one in shapes if one is not plain] + [one for one in shapes if one is plain])

    def _class(self, cls: Any) -> Shape:
        if cls in SCALARS:
            return SCALARS[cls]
        if cls in (tuple, frozenset) or cls in _LISTS or cls in _SETS:
            make = cls if cls in (tuple, frozenset) else set if cls in _SETS else list
            return Items(Anything(), make, unique=make in (set, frozenset))
        if cls in _TABLES:
            return Table(None, Anything())
        library = library_of(cls)
        if library is not None:
            shape = foreign_shape(cls, library, structured=True)
        elif issubclass(cls, enum.Enum):
            shape = Choice([(member.value, member) for member in cls], cls)
        elif dataclasses.is_dataclass(cls) or typing.is_typeddict(cls):
            return self._record(cls)
        elif issubclass(cls, tuple) and hasattr(cls, "_fields"):
            shape = self._named_tuple(cls)
        else:
            raise unsupported(cls)
        self._classes[cls] = shape
        return shape

    def _named_tuple(self, cls: Any) -> Shape:
        hints = hints_of(cls)
        shapes = [self.of(hints.get(name, Any)) for name in cls._fields]
        return Row(shapes, lambda values: cls(*values), least=len(shapes) - len(cls._field_defaults))

    def _record(self, cls: Any) -> Shape:
        shape = self._classes[cls] = Record(cls)
        hints = hints_of(cls)
        hidden = [name for name, hint in hints.items() if isinstance(hint, dataclasses.InitVar)]
        if hidden:
            raise AnnotationError(f"{cls.__name__} has the InitVar {hidden[0]}, which no request can give")
        if dataclasses.is_dataclass(cls):
            shape.fields = tuple(self._field(one, hints) for one in dataclasses.fields(cls) if one.init)
        else:
            shape.fields = tuple(self._member(cls, name, hint) for name, hint in hints.items())
        return shape

    def _field(self, field: dataclasses.Field[Any], hints: dict[str, Any]) -> Field:
        default = MISSING if field.default is dataclasses.MISSING else field.default
        required = default is MISSING and field.default_factory is dataclasses.MISSING
        text = str(field.metadata.get("description", ""))
        return Field(field.name, self.of(hints[field.name]), required, default, text)

    def _member(self, cls: Any, name: str, hint: Any) -> Field:
        required = name in cls.__required_keys__
        while True:
            mark = getattr(typing.get_origin(hint), "_name", None)
            if mark not in _FIELD_MARKS:
                return Field(name, self.of(hint), required)
            required = required if _FIELD_MARKS[mark] is None else bool(_FIELD_MARKS[mark])
            hint = typing.get_args(hint)[0]


def hints_of(target: Any) -> dict[str, Any]:
    """Return the resolved annotations of a callable or class. Raises: `AnnotationError` naming what is unknown."""
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as error:
        name, wrong = getattr(target, "__name__", "it"), error
    try:  # what it returns may be known to type checkers only; what it takes may not
        own = {key: value for key, value in target.__annotations__.items() if key != "return"}
        space = getattr(target, "__globals__", None)
        if space is not None and len(own) < len(target.__annotations__):
            return typing.get_type_hints(types.SimpleNamespace(__annotations__=own), space, include_extras=True)
    except NameError as error:
        wrong = error
    raise AnnotationError(f"an annotation of {name} can't be resolved: {wrong}")


def unsupported(annotation: Any) -> AnnotationError:
    shown = getattr(annotation, "__qualname__", None) or str(annotation)
    return AnnotationError(f"nothing can be read into {shown}; there are {_SUPPORTED}")
