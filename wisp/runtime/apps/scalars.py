"""Shapes of single values: text, numbers, truth, bytes, times, identifiers."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from wisp.runtime.apps.shapes import BAD, Book, Shape, Wrong

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,300}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:[eE][+-]?[0-9]{1,4})?")
_EXACT: Final = 1 << 53  # up to here a number with a fraction of zero is a whole one (RFC 8259 §6)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TRUTH: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
_FINITE: Final = float("inf")


class Scalar(Shape):
    """One value. `from_json` and `from_text` return `BAD` for what does not fit."""

    textual = True

    def __init__(
        self,
        wanted: str,
        schema: dict[str, Any],
        from_json: Callable[[Any], Any],
        from_text: Callable[[str], Any] | None = None,
    ) -> None:
        self.wanted = wanted
        self._schema = schema
        self._from_json = from_json
        self._from_text = from_text or from_json

    def read(self, value: Any, at: str, wrong: Wrong) -> Any:
        found = self._from_json(value)
        return found if found is not BAD else wrong.expected(at, self.wanted, value)

    def parse(self, text: str, at: str, wrong: Wrong) -> Any:
        found = self._from_text(text)
        return found if found is not BAD else wrong.expected(at, self.wanted, text)

    def schema(self, book: Book) -> dict[str, Any]:
        return dict(self._schema)


def _text(value: Any) -> Any:
    return value if type(value) is str else BAD


def _integer(value: Any) -> Any:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return BAD


def _integer_text(text: str) -> Any:
    return int(text) if _INTEGER.fullmatch(text) else BAD


def _number(value: Any) -> Any:
    if type(value) is float:
        return value
    if type(value) is not int:
        return BAD
    try:
        return float(value)
    except OverflowError:
        return BAD


def _number_text(text: str) -> Any:
    found = float(text) if _NUMBER.fullmatch(text) else _FINITE
    return found if abs(found) < _FINITE else BAD


def _boolean(value: Any) -> Any:
    return value if type(value) is bool else BAD


def _boolean_text(text: str) -> Any:
    return _TRUTH.get(text.lower(), BAD)


def _bytes(value: Any) -> Any:
    if type(value) is bytes:
        return value  # an event's data that is no text
    if type(value) is not str:
        return BAD
    try:
        return b64decode(value, validate=True)
    except ValueError:
        return BAD


def _decimal(value: Any) -> Any:
    if type(value) is str:
        return Decimal(value) if _NUMBER.fullmatch(value) else BAD
    return Decimal(repr(value)) if type(value) in (int, float) else BAD


def _by(make: Callable[[str], Any], form: re.Pattern[str] | None = None) -> Callable[[Any], Any]:
    """Return a reader of text that `make` understands, of a certain form."""

    def read(value: Any) -> Any:
        if type(value) is not str or (form is not None and not form.fullmatch(value)):
            return BAD
        try:
            return make(value)
        except ValueError:
            return BAD

    return read


_STRING: Final = {"type": "string"}
SCALARS: Final[dict[Any, Scalar]] = {
    str: Scalar("text", _STRING, _text),
    int: Scalar("an integer", {"type": "integer"}, _integer, _integer_text),
    float: Scalar("a number", {"type": "number"}, _number, _number_text),
    bool: Scalar("true or false", {"type": "boolean"}, _boolean, _boolean_text),
    bytes: Scalar("bytes as base64", {"type": "string", "contentEncoding": "base64"}, _bytes),
    UUID: Scalar("a UUID", {"type": "string", "format": "uuid"}, _by(UUID, _UUID)),
    datetime: Scalar(
        "a date and time (ISO 8601)", {"type": "string", "format": "date-time"}, _by(datetime.fromisoformat)
    ),
    date: Scalar("a date (YYYY-MM-DD)", {"type": "string", "format": "date"}, _by(date.fromisoformat, _DATE)),
    time: Scalar("a time (HH:MM:SS)", {"type": "string", "format": "time"}, _by(time.fromisoformat)),
    Decimal: Scalar(
        "a decimal number", {"anyOf": [{"type": "number"}, {"type": "string", "format": "decimal"}]}, _decimal
    ),
}
