"""AsyncLink: the instance's end of the conversation on an event loop.

The socket itself keeps blocking (that flag belongs to the open file, which the gateway's duplicate shares): every
call here says MSG_DONTWAIT instead.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from wisp.runtime import frames
from wisp.runtime.frames import FrameError
from wisp.runtime.invocation import Invocation
from wisp.runtime.link import CallerGone, LinkClosed, deliver

_T = TypeVar("_T")
_BURST: Final = 32  # packets taken before the loop gets its turn again
_NOWAIT: Final = socket.MSG_DONTWAIT


class AsyncLink:
    """Frames in, frames out.

    With one call at a time (`windows` False) an INVOKE frame is left in the socket while a call runs, where the
    gateway can take it back, unless somebody waits for a frame that may be behind it.
    """

    def __init__(self, link: socket.socket, *, windows: bool) -> None:
        self.socket = link
        self.windows = windows
        self.open: dict[int, Invocation] = {}
        self.replies: dict[int, asyncio.Future[list[frames.Frame]]] = {}
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.busy: Callable[[], bool] = lambda: False
        self.invoked: Callable[[Invocation], None] = lambda invocation: None
        self.cancelled: Callable[[Invocation], None] = lambda invocation: None
        self._partial: dict[int, list[frames.Frame]] = {}
        self._waiters: dict[int, list[asyncio.Future[None]]] = {}
        self._wanted = 0  # how many wait for a frame
        self._paused = True
        self._out: deque[bytes] = deque()
        self._room: list[asyncio.Future[None]] = []

    # ── in ──────────────────────────────────────────────────────────────────────────────────────────────────

    def resume(self) -> None:
        """Read (again)."""
        if self._paused and not self.ended.done():
            self._paused = False
            self.loop.add_reader(self.socket.fileno(), self._readable)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.loop.remove_reader(self.socket.fileno())

    def _readable(self) -> None:
        try:
            for _ in range(_BURST):
                if self._paused or self._leave_it():
                    return
                self._take(self.socket.recv(frames.INWARD_MAX, _NOWAIT))
        except BlockingIOError:
            return
        except (LinkClosed, OSError) as error:
            self._end(error)
        except FrameError as error:
            self._end(error)

    def _leave_it(self) -> bool:
        """Is the next frame an event that has to wait where it is?"""
        if self.windows or self._wanted or not self.busy():
            return False
        if self.socket.recv(1, _NOWAIT | socket.MSG_PEEK) != bytes([frames.INVOKE]):
            return False
        self._pause()
        return True

    def _take(self, packet: bytes) -> None:
        if not packet:
            raise LinkClosed
        if packet[0] == frames.INVOKE:
            invocation = Invocation(packet)
            invocation.open()
            self.open[invocation.number] = invocation
            self.invoked(invocation)
            return
        frame = frames.parse(packet)
        if frame.type == frames.REPLY or (frame.type == frames.BODY and frame.call & frames.OWN_CALL):
            self._reply(frame)
            return
        if frame.type == frames.INIT:
            raise FrameError("a second INIT")
        known = self.open.get(frame.call)
        if known is not None:
            deliver(known, frame)
            if frame.type == frames.CANCEL:
                self.cancelled(known)
            self._wake(frame.call)

    def _reply(self, frame: frames.Frame) -> None:
        parts = self._partial.setdefault(frame.call, [])
        parts.append(frame)
        if frame.flags & frames.MORE:
            return
        del self._partial[frame.call]
        future = self.replies.get(frame.call)
        if future is not None and not future.done():
            future.set_result(parts)

    def _end(self, error: BaseException) -> None:
        self._pause()
        if not self.ended.done():
            self.ended.set_exception(error)
        for number in list(self._waiters):
            self._wake(number)

    def _wake(self, number: int) -> None:
        for waiter in self._waiters.pop(number, ()):
            if not waiter.done():
                waiter.set_result(None)

    def woken(self, invocation: Invocation) -> None:
        """Let those who wait for a frame of this invocation look again."""
        self._wake(invocation.number)

    async def news(self, invocation: Invocation) -> None:
        """Wait until a frame for this invocation has come. Raises: `LinkClosed`."""
        if self.ended.done():
            raise LinkClosed
        waiter = self.loop.create_future()
        self._waiters.setdefault(invocation.number, []).append(waiter)
        await self.wait_for_frame(waiter)

    async def wait_for_frame(self, waiter: asyncio.Future[_T]) -> _T:
        """Await what a frame will bring; meanwhile all frames are read."""
        self._wanted += 1
        self.resume()
        try:
            return await waiter
        finally:
            self._wanted -= 1

    async def read_body(self, invocation: Invocation) -> bytes:
        """Return the next piece of a request's body; empty at its end or when the caller is gone."""
        parts = invocation.open()
        while not parts and invocation.open_body and not invocation.cancelled:
            await self.news(invocation)
        if not parts:
            return b""
        part = parts.popleft()
        if self.windows and invocation.open_body:
            grant = frames.WINDOW_HEAD.pack(len(part))
            self.send(frames.pack(frames.WINDOW, invocation.number, head=grant))
        return part

    async def read_whole_body(self, invocation: Invocation) -> None:
        """Wait until `invocation.body` is complete."""
        if not invocation.open_body:
            return
        pieces = []
        while piece := await self.read_body(invocation):
            pieces.append(piece)
        invocation.open().append(b"".join(pieces))

    # ── out ─────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, packet: bytes) -> None:
        """Send now, or queue behind what already waits."""
        if not self._out:
            try:
                self.socket.send(packet, _NOWAIT)
                return
            except BlockingIOError:
                self.loop.add_writer(self.socket.fileno(), self._writable)
            except OSError as error:
                self._end(error)
                return
        self._out.append(packet)

    def _writable(self) -> None:
        try:
            while self._out:
                self.socket.send(self._out[0], _NOWAIT)
                self._out.popleft()
        except BlockingIOError:
            return
        except OSError as error:
            self._out.clear()
            self._end(error)
        self.loop.remove_writer(self.socket.fileno())
        for waiter in self._room:
            if not waiter.done():
                waiter.set_result(None)
        self._room.clear()

    async def send_part(self, invocation: Invocation, body: bytes | memoryview, *, more: bool) -> None:
        """Send the next piece of an answer's body, of any size. Raises: `LinkClosed`, `CallerGone`."""
        view = memoryview(body)
        size = len(view)
        for start in range(0, size or 1, frames.BODY_MAX):
            part = view[start : start + frames.BODY_MAX]
            flags = frames.MORE if more or start + frames.BODY_MAX < size else 0
            await self.take_credit(invocation, len(part))
            self.send(frames.HEADER.pack(frames.BODY, flags, 0, 0, invocation.number, len(part)) + part)

    async def take_credit(self, invocation: Invocation, size: int) -> None:
        """Wait until `size` more body bytes may be under way. Raises: `LinkClosed`, `CallerGone`."""
        if self._out and not self.windows:
            room = self.loop.create_future()
            self._room.append(room)
            await room
        while self.windows and invocation.credit < size and not invocation.cancelled:
            await self.news(invocation)
        if invocation.cancelled:
            raise CallerGone("the caller is gone")
        if self.windows:
            invocation.credit -= size
