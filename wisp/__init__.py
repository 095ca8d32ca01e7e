"""Wisp, as user code imports it: `Event`, `Response`, `call`, `acall`. Standard library only, loaded on first use."""

from __future__ import annotations

TYPE_CHECKING = False  # not from typing, which is most of what importing this would cost
if TYPE_CHECKING:
    from wisp.calls import CallError, Reply, acall, call
    from wisp.event import Event
    from wisp.response import Response

__all__ = ["CallError", "Event", "Reply", "Response", "acall", "call"]

_HOMES = {
    "CallError": "wisp.calls",
    "Event": "wisp.event",
    "Reply": "wisp.calls",
    "Response": "wisp.response",
    "acall": "wisp.calls",
    "call": "wisp.calls",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wisp' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
