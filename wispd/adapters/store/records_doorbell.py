"""The recorder's doorbell: "index up to now", asked over ``<data>/run/recorder.sock``.

A caller connects, sends one line (`index` or `status`) and gets one line of JSON, a `RecorderStatus`. Local, trusted
callers only: the socket lies in the data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Final

import msgspec

from wispd.model.record import RecorderStatus

SOCKET_NAME: Final = "recorder.sock"
WAIT_S: Final = 2.0  # how long a caller waits for the index
_LINE_MAX: Final = 65_536
_CALLERS_MAX: Final = 64
_READ_S: Final = 0.25  # for a caller to say what it wants


class Doorbell:
    """The recorder's side: who rang, and their answers."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        os.chmod(path, 0o600)
        self._socket.listen(_CALLERS_MAX)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def callers(self) -> list[tuple[socket.socket, str]]:
        """Return those who rang, with their word."""
        rang: list[tuple[socket.socket, str]] = []
        while len(rang) < _CALLERS_MAX:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return rang
            caller.settimeout(_READ_S)
            try:
                rang.append((caller, caller.recv(64).decode("ascii", "replace").strip()))
            except OSError:
                caller.close()
        return rang

    def answer(self, callers: list[tuple[socket.socket, str]], status: RecorderStatus) -> None:
        """Answer all, and hang up."""
        line = msgspec.json.encode(status) + b"\n"
        for caller, _ in callers:
            with contextlib.suppress(OSError):
                caller.sendall(line)
            caller.close()

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)


async def ring(path: Path, word: str = "index", *, wait_s: float = WAIT_S) -> RecorderStatus | None:
    """Ask the recorder, and wait until it has indexed up to now; None when it does not answer in time."""
    try:
        async with asyncio.timeout(wait_s):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=_LINE_MAX)
            try:
                writer.write(word.encode() + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
        return msgspec.json.decode(line, type=RecorderStatus)
    except (OSError, TimeoutError, ValueError, msgspec.DecodeError):
        return None
