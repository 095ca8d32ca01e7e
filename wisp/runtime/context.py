"""`context`: the second argument of a native handler."""

from __future__ import annotations

import logging
import time

from wisp.runtime.invocation import Invocation
from wisp.runtime.settings import Settings


class Context:
    """What a handler may know about its call. `deadline` is on `time.monotonic_ns`'s clock."""

    __slots__ = ("_invocation",)

    function: str = ""
    namespace: str = ""
    version: int = 0
    log: logging.Logger

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    @property
    def invocation_id(self) -> str:
        return self._invocation.id

    @property
    def deadline(self) -> int:
        return self._invocation.deadline_ns

    def remaining_s(self) -> float:
        """Return the seconds left until the platform ends this call; 0 when there are none."""
        return max(0.0, (self._invocation.deadline_ns - time.monotonic_ns()) / 1e9)

    @property
    def trace(self) -> str | None:
        """The W3C `traceparent` of the caller."""
        found = self._invocation.request.header(b"traceparent")
        return found.decode("latin-1") if found is not None else None

    @property
    def attempt(self) -> int:
        """0 for the first try, then 1, 2, …"""
        return self._invocation.attempt

    def __repr__(self) -> str:
        return f"Context({self.function!r}, {self.invocation_id})"


def context_class(settings: Settings) -> type[Context]:
    """Return a Context of this function: what never changes sits on the class, so that a call stores one value."""
    log = logging.getLogger(settings.function)
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    fixed = {
        "__slots__": (),
        "function": settings.function,
        "namespace": settings.namespace,
        "version": settings.version,
        "log": log,
    }
    return type("Context", (Context,), fixed)
