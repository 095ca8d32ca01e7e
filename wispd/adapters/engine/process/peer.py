"""The launcher's end of its connection to the gateway: never blocks, bounded, closes what does not fit."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from wispd.adapters.engine.process import descriptors, protocol
from wispd.adapters.engine.process.loop import Loop

QUEUE_MAX: Final = 4096  # messages a gateway may leave unread before it is taken for dead
_TURN_MAX: Final = 64  # messages read before children and timers get their turn


class Peer:
    """Reads messages and sends answers in order. `ended` is called once, also for a peer that misbehaves."""

    def __init__(
        self, loop: Loop, link: socket.socket, *, received: Callable[[bytes], None], ended: Callable[[], None]
    ) -> None:
        link.setblocking(False)
        self._loop = loop
        self._link = link
        self._received = received
        self._ended = ended
        self._queue: deque[tuple[bytes, Sequence[int]]] = deque()
        self._open = True
        loop.add(link.fileno(), self._ready)

    def send(self, content: bytes, given: Sequence[int] = ()) -> None:
        """Send a message now or when there is room. Takes the descriptors over and closes them."""
        if not self._open:
            descriptors.close_all(given)
        elif self._queue:
            self._enqueue(content, given)
        elif not self._send(content, given):
            self._enqueue(content, given)
            if self._open:
                self._loop.want_write(self._link.fileno(), True)

    def close(self) -> None:
        """Close without calling `ended`. Idempotent."""
        if self._open:
            self._open = False
            self._loop.remove(self._link.fileno())
            self._link.close()
            for _, given in self._queue:
                descriptors.close_all(given)
            self._queue.clear()

    def _enqueue(self, content: bytes, given: Sequence[int]) -> None:
        self._queue.append((content, given))
        if len(self._queue) > QUEUE_MAX:
            self._lose()

    def _send(self, content: bytes, given: Sequence[int]) -> bool:
        """Try once; True when the message is off our hands, whether it arrived or the connection is lost."""
        try:
            descriptors.send(self._link, content, given)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == _TOO_MANY_IN_FLIGHT:
                return False
            descriptors.close_all(given)
            self._lose()
            return True
        descriptors.close_all(given)
        return True

    def _ready(self) -> None:
        self._flush()
        for _ in range(_TURN_MAX):
            if not self._open:
                return
            try:
                packet = descriptors.receive(self._link, protocol.MESSAGE_MAX)
            except BlockingIOError:
                return
            except (descriptors.PacketError, OSError):
                self._lose()
                return
            descriptors.close_all(packet.descriptors)
            if not packet.content:
                self._lose()
                return
            try:
                self._received(packet.content)
            except ValueError:
                self._lose()

    def _flush(self) -> None:
        if not self._queue or not self._open:
            return
        while self._queue and self._send(*self._queue[0]):
            if self._open:
                self._queue.popleft()
        if self._open and not self._queue:
            with contextlib.suppress(OSError):
                self._loop.want_write(self._link.fileno(), False)

    def _lose(self) -> None:
        if self._open:
            self.close()
            self._ended()


_TOO_MANY_IN_FLIGHT: Final = 109  # ETOOMANYREFS: descriptors wait unread in sockets
