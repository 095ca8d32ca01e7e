"""Door: what the public and the internal HTTP application have in common, between an exchange and the dispatcher."""

from __future__ import annotations

from typing import Protocol

from wisp.runtime.frames import CANCEL_DISCONNECTED
from wispd.api.faults import id_line, render
from wispd.api.invocations import InvocationMaker
from wispd.base.errors import Fault
from wispd.gateway.http1_application import Conversation, Exchange, Problem
from wispd.model.invocation import Invocation


class Calls(Protocol):
    """The dispatcher, as the doors see it."""

    def submit(self, invocation: Invocation) -> None: ...

    def feed(self, invocation: Invocation, chunk: bytes, more: bool) -> bool: ...

    def cancel(self, invocation: Invocation, reason: int) -> None: ...

    def pause(self, invocation: Invocation) -> None: ...

    def resume(self, invocation: Invocation) -> None: ...

    def hostile(self, invocation: Invocation, reason: str) -> None: ...


class BodyBudget:
    """Bytes of request bodies that all doors together may hold."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def reserve(self, size: int) -> bool:
        """Take bytes, if there are that many left; a negative size gives back."""
        if size > 0 and self.used_bytes + size > self.limit_bytes:
            return False
        self.used_bytes += size
        return True


class Door:
    """The parts of `Application` that don't depend on who may come in."""

    def __init__(self, calls: Calls, maker: InvocationMaker, budget: BodyBudget) -> None:
        self._calls = calls
        self._maker = maker
        self.reserve = budget.reserve

    def arrived(self, exchange: Conversation, part: bytes, more: bool) -> bool:
        """Pass a part of a streamed body on."""
        invocation = exchange.invocation
        if invocation is None:
            return True
        invocation.bytes_in += len(part)
        return self._calls.feed(invocation, part, more)

    def gone(self, exchange: Conversation) -> None:
        """Cancel what runs for a client that left."""
        if exchange.invocation is not None:
            self._maker.limit(exchange.invocation)
            self._calls.cancel(exchange.invocation, CANCEL_DISCONNECTED)

    def paused(self, exchange: Conversation) -> None:
        """Stop the answer."""
        if exchange.invocation is not None:
            self._calls.pause(exchange.invocation)

    def resumed(self, exchange: Conversation) -> None:
        """Let the answer go on."""
        if exchange.invocation is not None:
            self._calls.resume(exchange.invocation)

    def hostile(self, exchange: Conversation, reason: str) -> None:
        """End the instance that lied."""
        if exchange.invocation is not None:
            self._calls.hostile(exchange.invocation, reason)

    def ending(self, invocation: Invocation) -> None:
        """Let the function's timeout count from now on."""
        self._maker.limit(invocation)

    def decorate(self, invocation: Invocation) -> bytes:
        """Say which invocation answers."""
        return id_line(invocation.id)

    def problem(self, fault: Fault, invocation: Invocation | None) -> Problem:
        """Write a fault down; it has an id even if nothing was invoked, to be quoted to an operator."""
        return render(fault, invocation.id if invocation is not None else self._maker.id())

    def _submit(self, exchange: Exchange, invocation: Invocation) -> bool:
        """Dispatch; False if the answer is complete already."""
        exchange.invocation = invocation
        self._calls.submit(invocation)
        return exchange.invocation is invocation
