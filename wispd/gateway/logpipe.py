"""The reading end of the pipe behind an instance's descriptors 1 and 2."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

_READ: Final = 65_536  # a whole pipe buffer


class LogPipe:
    """Hands on what comes out of the pipe, as it comes. Owns the descriptor."""

    __slots__ = ("_fd", "_loop", "_sink")

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, sink: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._fd = fd
        self._sink = sink
        if fd >= 0:
            os.set_blocking(fd, False)
            loop.add_reader(fd, self._readable)

    def close(self) -> None:
        """Hand on what is left and give the descriptor back. Idempotent."""
        if self._fd >= 0:
            self._readable()
        self._drop()

    def _readable(self) -> None:
        try:
            text = os.read(self._fd, _READ)
        except BlockingIOError:
            return
        except OSError:
            text = b""
        if text:
            self._sink(text)
        else:
            self._drop()

    def _drop(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
