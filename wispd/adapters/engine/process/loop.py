"""A single-threaded event loop on epoll: readable descriptors, timers, ended children, and nothing else."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

_EVENTS_MAX: Final = 256


class Loop:
    """Calls back on the thread that runs it. An exception in a callback ends the loop."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopped = False
        self._status = 0

    def add(self, descriptor: int, readable: Callable[[], None]) -> None:
        """Call `readable` while the descriptor is readable or at its end."""
        self._callbacks[descriptor] = readable
        self._epoll.register(descriptor, select.EPOLLIN)

    def want_write(self, descriptor: int, wanted: bool) -> None:
        """Also call back when the descriptor can be written to."""
        self._epoll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor; call it before closing. Idempotent."""
        if self._callbacks.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call once, not before `delay_s` seconds have passed."""
        due = time.monotonic_ns() + int(delay_s * 1e9)
        heapq.heappush(self._timers, (due, next(self._order), callback))

    def on_child(self, callback: Callable[[], None]) -> None:
        """Call when children have ended (once for several)."""
        reading, writing = socket.socketpair()
        for end in (reading, writing):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing.detach(), warn_on_full_buffer=False)

        def woken() -> None:
            with contextlib.suppress(BlockingIOError):
                while len(reading.recv(4096)) == 4096:
                    pass
            callback()

        self.add(reading.fileno(), woken)

    def stop(self, status: int = 0) -> None:
        self._stopped, self._status = True, status

    def run(self) -> int:
        """Run until `stop`; return its status."""
        while not self._stopped:
            try:
                events = self._epoll.poll(self._wait_s(), _EVENTS_MAX)
            except InterruptedError:  # pragma: no cover - Python retries by itself
                continue
            for descriptor, _ in events:
                callback = self._callbacks.get(descriptor)
                if callback is not None:
                    callback()
            now = time.monotonic_ns()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
        return self._status

    def _wait_s(self) -> float:
        if not self._timers:
            return -1
        return max(0, self._timers[0][0] - time.monotonic_ns()) / 1e9

    def close(self) -> None:
        """Give the descriptors back to the system; the loop is not used again."""
        signal.set_wakeup_fd(-1)
        with contextlib.suppress(OSError):
            os.close(self._epoll.fileno())
