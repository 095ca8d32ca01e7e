"""What a channel asks of the pool that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wisp.runtime import frames
from wispd.base.errors import Fault
from wispd.gateway.opening import Ready
from wispd.model.invocation import Invocation

if TYPE_CHECKING:
    from wispd.gateway.channel import Channel


class ChannelOwner(Protocol):
    """The pool, as its channels see it."""

    measured: bool  # runs long enough to be worth reading the CPU wait where they begin

    def became_ready(self, channel: Channel, ready: Ready) -> None: ...

    def init_failed(self, channel: Channel, fault: Fault) -> None: ...

    def finished(self, channel: Channel, invocation: Invocation) -> None:
        """The invocation is over and the slot free; its answer has been delivered."""

    def freed(self, channel: Channel) -> None: ...

    def hostile(self, channel: Channel, reason: str) -> None: ...

    def link_closed(self, channel: Channel) -> None: ...

    def called(self, channel: Channel, frame: frames.Frame) -> None:
        """The function calls another one."""

    def logged(self, channel: Channel, invocation: Invocation | None, text: bytes) -> None: ...
