"""What a pool asks of the dispatcher that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wisp.runtime.frames import Frame
from wispd.base.errors import Fault
from wispd.gateway.secrets import Opened
from wispd.model.function import Version
from wispd.model.invocation import Invocation, Status

if TYPE_CHECKING:
    from wispd.gateway.channel import Channel
    from wispd.gateway.pool import Pool


class PoolOwner(Protocol):
    """The dispatcher, as its pools see it."""

    def settled(self, invocation: Invocation) -> None:
        """The invocation is over."""

    def fail(self, invocation: Invocation, status: Status, fault: Fault) -> None:
        """End an invocation that got no answer."""

    def watch_queue(self, channel: Channel) -> None:
        """Events are queued ahead on this channel: look for an overdue head."""

    def called(self, pool: Pool, channel: Channel, frame: Frame) -> None: ...

    def logged(self, pool: Pool, channel: Channel, invocation: Invocation | None, text: bytes) -> None: ...

    def cold_started(self, pool: Pool, channel: Channel) -> None: ...

    def obstacle(self, version: Version) -> Fault | None:
        """Return why no instance of the version can be told its secrets; None: as far as is known, it can."""

    def opened(self, version: Version) -> Opened:
        """Return what an instance of the version is told of secrets. Raises: `Fault`."""
