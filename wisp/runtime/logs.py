"""What a function prints, caught per invocation and bounded.

Text goes to the invocation of the context that wrote it (threads and tasks inherit it), else to the instance (call
0). Nothing is made, locked or sent before the first character is printed.
"""

from __future__ import annotations

import _thread
import os
import select
import socket
import threading
import time
from typing import Final

from wisp.runtime import frames
from wisp.runtime.frames import LOG_MAX
from wisp.runtime.invocation import Invocation, current

LINE_MAX: Final = 65_536  # bytes of one line; the rest is cut off with a mark
CALL_MAX: Final = 1_048_576  # bytes of one call (of the instance: per second); what follows is counted, not kept
FLUSH_S: Final = 1.0  # a call that runs longer sends what it has printed ahead of its outcome
CUT: Final = b" [cut: line above 65536 bytes]"
FULL: Final = b"[log limit of 1048576 bytes reached, further lines are dropped]\n"


class Lines:
    """Bounded text: `pending` is not yet sent. Lines above LINE_MAX are cut, text above CALL_MAX is counted away."""

    __slots__ = ("column", "dropped", "number", "pending", "room", "since_ns")

    def __init__(self, number: int) -> None:
        self.number = number
        self.pending = bytearray()
        self.dropped = 0
        self.column = 0  # bytes of the line that is not ended yet
        self.room = CALL_MAX
        self.since_ns = time.monotonic_ns()

    def add(self, text: bytes) -> None:
        """Append text that need not end with a newline."""
        end = text.rfind(b"\n")
        if self.column + len(text) <= LINE_MAX and len(text) <= self.room:
            self.pending += text
            self.room -= len(text)
            self.column = len(text) - end - 1 if end >= 0 else self.column + len(text)
            return
        pieces = text.split(b"\n")
        for piece in pieces[:-1]:
            self._piece(piece, b"\n")
        self._piece(pieces[-1], b"")

    def _piece(self, piece: bytes, newline: bytes) -> None:
        keep = max(0, LINE_MAX - self.column)
        self.column = 0 if newline else self.column + len(piece)
        if len(piece) > keep:
            piece = piece[:keep] + CUT if keep else b""
        if not piece and not newline:
            return
        if len(piece) + 1 <= self.room:
            self.pending += piece + newline
            self.room -= len(piece) + len(newline)
            return
        if self.room > 0:
            self.pending += FULL
            self.room = 0
        self.dropped += bool(newline)

    def take(self, size: int = LOG_MAX) -> bytes:
        """Remove and return at most `size` bytes, at the end of a line or at least of a character."""
        pending = self.pending
        if len(pending) <= size:
            self.pending = bytearray()
            return bytes(pending)
        end = pending.rfind(b"\n", 0, size) + 1
        if not end:
            end = size
            while end > size - 4 and pending[end] & 0xC0 == 0x80:
                end -= 1
        part = bytes(pending[:end])
        del pending[:end]
        return part


class Capture:
    """Takes text from the streams, puts it where it belongs, and sends what can't wait for the outcome."""

    def __init__(self, link: socket.socket) -> None:
        self._socket = link
        self._lock = threading.RLock()
        self._instance = Lines(0)
        self._open: set[Lines] = set()
        self._wake = _thread.allocate_lock()
        self._ticking = False
        self._started = False
        self.forked = False

    def write(self, text: bytes, descriptor: int) -> None:
        """Keep `text` for the invocation that runs in this context."""
        if self.forked:  # a child of the function's own: it has no part in the link
            os.write(descriptor, text)
            return
        invocation = current.get()
        with self._lock:
            if invocation is None or invocation.done:
                lines = self._instance
            else:
                found = invocation.lines
                lines = found if found is not None else self._begin(invocation)
            lines.add(text)
            while len(lines.pending) > LOG_MAX:
                self._send(lines)
            if not self._ticking:
                self._tick()

    def _begin(self, invocation: Invocation) -> Lines:
        lines = invocation.lines = Lines(invocation.number)
        self._open.add(lines)
        return lines

    def close(self, invocation: Invocation) -> tuple[bytes, int]:
        """End the log of an invocation: return (what is left, at most LOG_MAX bytes; lines dropped)."""
        with self._lock:
            invocation.done = True
            lines = invocation.lines
            if lines is None:
                return b"", 0
            self._open.discard(lines)
            return lines.take(), lines.dropped

    def flush(self) -> None:
        """Send what belongs to no invocation."""
        with self._lock:
            while self._instance.pending:
                self._send(self._instance)
            self._instance.room = CALL_MAX

    def _send(self, lines: Lines) -> None:
        send_whole(self._socket, frames.pack(frames.LOG, lines.number, body=lines.take()))

    # ── text of calls that run long ─────────────────────────────────────────────────────────────────────────

    def _tick(self) -> None:
        self._ticking = True
        if self._started:
            self._wake.release()
            return
        self._started = True
        try:
            # Not a threading.Thread: it must neither be counted by the function nor be waited for at exit.
            _thread.start_new_thread(self._run, ())
        except RuntimeError:
            self._started = False  # no thread to be had: text waits for the outcome

    def _run(self) -> None:
        self._wake.acquire()
        while True:
            time.sleep(FLUSH_S)
            with self._lock:
                if not self._send_old():
                    self._ticking = False
            if not self._ticking:
                self._wake.acquire()

    def _send_old(self) -> bool:
        """Send text of running calls that is older than FLUSH_S; True if there may be more to come."""
        limit = time.monotonic_ns() - int(FLUSH_S * 0.5e9)
        try:
            for lines in list(self._open):
                if lines.pending and lines.since_ns <= limit:
                    self._send(lines)
            self.flush()
        except OSError:
            return False  # the link is closed
        return bool(self._open)

    def after_fork(self) -> None:
        """In a child of the function's own: it has no part in the link, and must not be able to answer on it."""
        self.forked = True
        self._lock = threading.RLock()
        self._socket.close()


def send_whole(link: socket.socket, packet: bytes) -> None:
    """Send one packet, waiting for room even where the socket does not block."""
    while True:
        try:
            link.send(packet)
            return
        except BlockingIOError:
            poll = select.poll()
            poll.register(link.fileno(), select.POLLOUT)
            poll.poll()
