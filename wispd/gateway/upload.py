"""Upload: the rest of one request body on its way to an instance, under credit or under the socket's own pressure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from wisp.runtime import frames
from wisp.runtime.frames import HEADER, Frame
from wispd.gateway.link import FrameLink
from wispd.model.invocation import Invocation

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


class Uploads:
    """The bodies still on their way to one instance, and who else waits for its socket. Empty on the hot path."""

    __slots__ = ("_link", "_multiplexed", "_open", "_waiting")

    def __init__(self, link: FrameLink, *, multiplexed: bool) -> None:
        self._link = link
        self._multiplexed = multiplexed
        self._open: dict[int, tuple[Upload, Invocation]] = {}
        self._waiting: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, invocation: Invocation) -> None:
        """The INVOKE frame has gone with the body's first part: send the rest."""
        upload = Upload(self._link, frames.WINDOW_SIZE - frames.BODY_MAX if self._multiplexed else None)
        self._open[invocation.number] = (upload, invocation)
        upload.add(invocation.rest or [])
        if not invocation.body_done and upload.willing:
            invocation.sink.want_body(invocation)

    def feed(self, invocation: Invocation, chunk: bytes, more: bool) -> bool:
        """Pass on a part that just arrived; False: wait for `Sink.want_body`."""
        invocation.body_done = not more
        invocation.fed = True
        if invocation.number not in self._open:
            return True  # answered without reading its body
        upload, _ = self._open[invocation.number]
        upload.add(frames.pack_body(invocation.number, chunk, more=more))
        return upload.willing

    def drained(self) -> None:
        """The socket takes frames again."""
        for upload, invocation in list(self._open.values()):
            if upload.resume() and not invocation.body_done:
                invocation.sink.want_body(invocation)
        self.close()

    def when_drained(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` once, when the socket takes frames again or never will."""
        self._waiting.append(go_on)

    def close(self) -> None:
        """Let go of those who wait for the socket."""
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()

    def window(self, frame: Frame) -> None:
        """The instance grants more bytes of one call."""
        if frame.call in self._open:
            upload, invocation = self._open[frame.call]
            (size,) = frames.WINDOW_HEAD.unpack(frame.head)
            if upload.grant(min(size, frames.WINDOW_SIZE)) and not invocation.body_done:
                invocation.sink.want_body(invocation)

    def drop(self, number: int) -> None:
        """The call is over."""
        self._open.pop(number, None)
