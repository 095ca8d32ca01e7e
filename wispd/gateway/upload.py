"""Upload: the rest of one request body on its way to an instance, under credit or under the socket's own pressure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from wisp.runtime.frames import HEADER
from wispd.gateway.link import FrameLink

_QUEUED_MAX: Final = 8  # frames in the link's queue above which the sender waits


class Upload:
    """Frames still to send. With `credit` None the socket alone decides (concurrency 1)."""

    __slots__ = ("_credit", "_frames", "_link")

    def __init__(self, link: FrameLink, credit: int | None) -> None:
        self._link = link
        self._credit = credit
        self._frames: deque[bytes] = deque()

    @property
    def willing(self) -> bool:
        """May the client send more?"""
        return not self._frames

    def add(self, packets: Iterable[bytes]) -> None:
        """Queue BODY frames and send what may go."""
        self._frames.extend(packets)
        self.resume()

    def grant(self, size: int) -> bool:
        """Take credit; True if everything queued has gone."""
        if self._credit is not None:
            self._credit += size
        return self.resume()

    def resume(self) -> bool:
        """Send what may go; True if nothing is left."""
        while self._frames and self._link.queued < _QUEUED_MAX:
            size = len(self._frames[0]) - HEADER.size
            if self._credit is not None:
                if self._credit < size:
                    break
                self._credit -= size
            self._link.send(self._frames.popleft())
        return not self._frames
