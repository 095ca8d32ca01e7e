"""Link: the instance's end of the conversation where no event loop runs (one thread, or a few).

Whoever waits for a frame reads for all: it routes what is not its own, and wakes the others. The loop's own thread
reads without a lock for as long as nobody else uses the link (`shared`); the order of the stores makes that safe:
the loop says that it reads, then looks whether the link is shared; a newcomer says that it is, then looks who reads.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from wisp.runtime import frames
from wisp.runtime.frames import FrameError
from wisp.runtime.invocation import Invocation
from wisp.runtime.logs import send_whole


class LinkClosed(Exception):
    """The gateway is gone, and with it the reason to go on."""


class CallerGone(ConnectionError):
    """Nobody waits for this answer any more."""


class Link:
    """Frames in, frames out.

    `kept` are invocations that came while something else was awaited; they run afterwards, in order. `open` are those
    that still take frames (bodies, cancels, credit), by number. `windows`: body bytes are under credit.
    """

    def __init__(self, link: socket.socket, *, windows: bool = False) -> None:
        self.socket = link
        self.windows = windows
        self.kept: deque[Invocation] = deque()
        self.open: dict[int, Invocation] = {}
        self.replies: dict[int, deque[frames.Frame]] = {}
        self.reading = False
        self.shared = windows
        self.changed = threading.Condition(threading.Lock())
        self._closed = False

    # ── out ─────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, packet: bytes) -> None:
        send_whole(self.socket, packet)

    def send_part(self, invocation: Invocation, body: bytes | memoryview, *, more: bool) -> None:
        """Send the next piece of an answer's body, of any size, as fast as its reader grants.

        Raises: `LinkClosed`, `CallerGone`.
        """
        view = memoryview(body)
        size = len(view)
        for start in range(0, size or 1, frames.BODY_MAX):
            part = view[start : start + frames.BODY_MAX]
            last = start + frames.BODY_MAX >= size
            self.take_credit(invocation, len(part))
            flags = frames.MORE if more or not last else 0
            self.send(frames.HEADER.pack(frames.BODY, flags, 0, 0, invocation.number, len(part)) + part)

    def take_credit(self, invocation: Invocation, size: int) -> None:
        """Wait until `size` more body bytes may be under way. Raises: `LinkClosed`, `CallerGone`."""
        if not self.windows:
            return
        if invocation.credit < size and not invocation.cancelled:
            self.wait(lambda: invocation.credit >= size or bool(invocation.cancelled))
        if invocation.cancelled:
            raise CallerGone("the caller is gone")
        invocation.credit -= size

    # ── in ──────────────────────────────────────────────────────────────────────────────────────────────────

    def read_body(self, invocation: Invocation) -> bytes:
        """Return the next piece of a request's body, waiting for it; empty at its end or when the caller is gone."""
        parts = invocation.open()
        if not parts and invocation.open_body and not invocation.cancelled:
            self.wait(lambda: bool(parts) or not invocation.open_body or bool(invocation.cancelled))
        if not parts:
            return b""
        part = parts.popleft()
        if self.windows and invocation.open_body:
            self.send(frames.pack(frames.WINDOW, invocation.number, head=frames.WINDOW_HEAD.pack(len(part))))
        return part

    def read_whole_body(self, invocation: Invocation) -> None:
        """Wait until `invocation.body` is complete."""
        pieces = []
        while piece := self.read_body(invocation):
            pieces.append(piece)
        invocation.open().append(b"".join(pieces))

    def next_invoke(self) -> Invocation:
        """Return the next invocation, routing all other frames; the slow way for links that several threads use."""
        self.wait(lambda: bool(self.kept))
        return self.kept.popleft()

    def wait(self, ready: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Route frames, or let another thread do so, until `ready()`; False: time is up.

        Raises: `LinkClosed` at the end of the link; `FrameError` for a frame that has no place.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        with self.changed:
            while not ready():
                left = None if until is None else until - time.monotonic()
                if self._closed:
                    raise LinkClosed
                if left is not None and left <= 0:
                    return False
                if self.reading:
                    self.changed.wait(left)
                    continue
                packet = self._read_unlocked(left)
                if packet is not None:
                    self.route(packet)
                self.changed.notify_all()
            return True

    def _read_unlocked(self, timeout_s: float | None) -> bytes | None:
        """Read one packet with the lock given back meanwhile; None: time is up, or it was taken back."""
        self.reading = True
        self.changed.release()
        try:
            if timeout_s is None:
                return self.receive()
            # Not a socket timeout: that is a flag of the open file, which the gateway's duplicate shares.
            poll = select.poll()
            poll.register(self.socket.fileno(), select.POLLIN)
            if not poll.poll(timeout_s * 1000):
                return None
            return self.receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        finally:
            self.changed.acquire()
            self.reading = False

    def receive(self, flags: int = 0) -> bytes:
        """Return one packet; empty at the end of the link."""
        try:
            return self.socket.recv(frames.INWARD_MAX, flags)
        except BlockingIOError:
            raise
        except OSError:
            return b""

    def route_shared(self, packet: bytes) -> None:
        """`route`, and wake those who wait for what it brought."""
        with self.changed:
            self.route(packet)
            self.changed.notify_all()

    def route(self, packet: bytes) -> None:
        """Put one frame where it belongs. An empty packet is the end of the link."""
        if not packet:
            self._closed = True
            raise LinkClosed
        if packet[0] == frames.INVOKE:
            self._keep(Invocation(packet))
            return
        frame = frames.parse(packet)
        if frame.type == frames.REPLY or (frame.type == frames.BODY and frame.call & frames.OWN_CALL):
            waiting = self.replies.get(frame.call)
            if waiting is not None:  # else nobody waits any more
                waiting.append(frame)
            return
        if frame.type == frames.INIT:
            raise FrameError("a second INIT")
        invocation = self.open.get(frame.call)
        if invocation is not None:
            deliver(invocation, frame)

    def _keep(self, invocation: Invocation) -> None:
        """Let an invocation wait, open for its frames: they may come before anybody takes it."""
        invocation.open()
        self.open[invocation.number] = invocation
        self.kept.append(invocation)


def deliver(invocation: Invocation, frame: frames.Frame) -> None:
    """Note what a frame says about a call that still runs."""
    if frame.type == frames.BODY:
        if frame.body:
            invocation.open().append(frame.body)
        if not frame.flags & frames.MORE:
            invocation.open_body = False
    elif frame.type == frames.CANCEL:
        invocation.cancelled = frame.meta or frames.CANCEL_DISCONNECTED
    elif frame.type == frames.WINDOW and len(frame.head) == frames.WINDOW_HEAD.size:
        invocation.credit += frames.WINDOW_HEAD.unpack(frame.head)[0]
