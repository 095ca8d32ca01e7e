"""FrameLink: how frames reach an instance and come back. Two adapters: SEQPACKET (local) and stream (remote).

A SEQPACKET link keeps one frame a packet, so a frame that the instance has not read yet can be taken back: that
proves it was never begun. A stream link can't prove it and takes nothing back.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from typing import Final, Protocol

from wisp.runtime.frames import HEADER, PACKET_MAX, FrameError, StreamDecoder, pack

_BURST: Final = 64  # packets read before the loop gets its turn again
_buffer = bytearray(PACKET_MAX + 1)  # one thread, one buffer; a packet that fills it is over the limit
_view = memoryview(_buffer)


class LinkOwner(Protocol):
    """Who uses a link. `packet` may close the link."""

    inflight: dict[int, object]

    def packet(self, packet: bytes) -> None: ...

    def closed(self) -> None:
        """The peer is gone, or sent what can't be a packet. Called once."""

    def drained(self) -> None:
        """The outgoing queue, once not empty, is empty again."""


class FrameLink(Protocol):
    """Send, receive, take back."""

    @property
    def queued(self) -> int:
        """Frames accepted but not yet in the socket."""

    def send(self, packet: bytes) -> None: ...

    def take_back(self) -> list[bytes]: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def poll(self) -> None: ...

    def close(self) -> None: ...


class _Reading:
    """What both links do alike: read while there is something, unless paused. Owns the descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, owner: LinkOwner) -> None:
        self._loop = loop
        self._owner = owner
        self._fd = fd
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._paused = False
        self._open = True
        loop.add_reader(fd, self._readable)

    def pause(self) -> None:
        """Stop reading: the instance blocks when the socket's buffer is full."""
        if self._open and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Read again."""
        if self._open and self._paused:
            self._paused = False
            self._loop.add_reader(self._fd, self._readable)

    def poll(self) -> None:
        """Read what is there now (before a decision that depends on it)."""
        if self._open and not self._paused:
            self._readable()

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._socket.close()

    def _readable(self) -> None:
        raise NotImplementedError


class SeqpacketLink(_Reading):
    """The gateway's end of an instance's SEQPACKET pair. Owns both descriptors."""

    def __init__(self, loop: asyncio.AbstractEventLoop, link_fd: int, steal_fd: int, owner: LinkOwner) -> None:
        super().__init__(loop, link_fd, owner)
        self._steal = socket.socket(fileno=steal_fd)
        self._out: deque[bytes] = deque()
        self._write = self._socket.send
        self._read_into = self._socket.recv_into

    @property
    def queued(self) -> int:
        return len(self._out)

    def send(self, packet: bytes) -> None:
        """Send now, or queue behind what already waits. Never raises: a dead peer shows as `closed`."""
        if self._out:
            self._out.append(packet)
            return
        try:
            self._write(packet)
        except BlockingIOError:
            self._out.append(packet)
            self._loop.add_writer(self._fd, self._writable)
        except OSError:
            pass  # the peer is gone: its end of file is on the way to `_readable`

    def take_back(self) -> list[bytes]:
        """Return the packets that the instance has not read, in order; it will never read them."""
        if not self._open:
            return []
        packets = []
        while True:
            try:
                packet = self._steal.recv(PACKET_MAX, socket.MSG_DONTWAIT)
            except OSError:
                break
            if not packet:
                break
            packets.append(packet)
        packets.extend(self._out)
        self._out.clear()
        self._loop.remove_writer(self._fd)
        return packets

    def close(self) -> None:
        """Give both descriptors back. Idempotent."""
        if self._open:
            super().close()
            self._steal.close()
            self._out.clear()

    def _readable(self) -> None:
        owner = self._owner
        inflight = owner.inflight
        for _ in range(_BURST):
            try:
                size = self._read_into(_buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                size = 0
            if size == 0 or size > PACKET_MAX:
                self._loop.remove_reader(self._fd)
                owner.closed()
                return
            owner.packet(bytes(_view[:size]))
            if not inflight or not self._open or self._paused:
                return

    def _writable(self) -> None:
        out = self._out
        while out:
            try:
                self._write(out[0])
            except BlockingIOError:
                return
            except OSError:
                out.clear()
                break
            out.popleft()
        self._loop.remove_writer(self._fd)
        self._owner.drained()


class StreamLink(_Reading):
    """The same over a byte stream (a Unix or TCP connection). Owns the descriptor; takes nothing back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, owner: LinkOwner) -> None:
        super().__init__(loop, fd, owner)
        self._out: deque[memoryview] = deque()
        self._decoder = StreamDecoder()

    @property
    def queued(self) -> int:
        return len(self._out)

    def send(self, packet: bytes) -> None:
        """Queue and write as much as the socket takes."""
        self._out.append(memoryview(packet))
        if len(self._out) == 1:
            self._writable()

    def take_back(self) -> list[bytes]:
        """Nothing can be proved unread on a stream."""
        return []

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        super().close()
        self._out.clear()

    def _readable(self) -> None:
        try:
            chunk = os.read(self._fd, 262_144)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            chunk = b""
        try:
            found = self._decoder.feed(chunk) if chunk else []
        except FrameError:
            chunk, found = b"", []
        for frame in found:
            if self._open:
                type_, flags, meta, call, head, body = frame
                self._owner.packet(pack(type_, call, flags=flags, meta=meta, head=head, body=body))
        if not chunk and self._open:
            self._loop.remove_reader(self._fd)
            self._owner.closed()

    def _writable(self) -> None:
        while self._out:
            try:
                sent = self._socket.send(self._out[0])
            except BlockingIOError:
                self._loop.add_writer(self._fd, self._writable)
                return
            except OSError:
                self._out.clear()
                break
            if sent == len(self._out[0]):
                self._out.popleft()
            else:
                self._out[0] = self._out[0][sent:]
        self._loop.remove_writer(self._fd)
        self._owner.drained()


def call_number(packet: bytes) -> int:
    """Return the call that a packet of ours belongs to."""
    return int(HEADER.unpack_from(packet)[4])
