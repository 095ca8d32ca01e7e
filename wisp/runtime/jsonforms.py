"""The JSON form of objects that JSON does not know: dataclasses, times, numbers, models of libraries."""

from __future__ import annotations

import sys
from base64 import b64encode
from dataclasses import fields
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID


def form_of(value: object) -> Any:
    """Return something that JSON knows, one level deep. Raises: `TypeError` naming the type that has no such form."""
    kind = type(value)
    if hasattr(kind, "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]
    if hasattr(kind, "__struct_fields__"):
        return sys.modules["msgspec"].to_builtins(value)
    if hasattr(kind, "__pydantic_validator__"):
        return value.model_dump(mode="json", by_alias=True)  # type: ignore[attr-defined]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, bytes | bytearray):
        return b64encode(value).decode("ascii")
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} has no JSON form")
