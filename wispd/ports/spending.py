"""What the invocation path asks before it lets a call in that costs money, and tells when the call has ended."""

from __future__ import annotations

from typing import Protocol

from wispd.base.errors import Fault
from wispd.model.invocation import Invocation


class Guard(Protocol):
    """Budgets and rates of functions. Never waits, never raises."""

    watched: bool
    """Is there any function to ask about? Where not, the path asks nothing at all."""

    def admit(self, invocation: Invocation, memory_bytes: int) -> Fault | None:
        """Let a call in, or return why not. `memory_bytes`: of the instance it would run on."""

    def settle(self, invocation: Invocation) -> None:
        """A call has ended and its record is written. Also for calls that were let in before anything was watched."""


class Unguarded:
    """No budgets at all."""

    watched = False

    def admit(self, invocation: Invocation, memory_bytes: int) -> Fault | None:
        return None

    def settle(self, invocation: Invocation) -> None: ...
