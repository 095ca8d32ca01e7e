"""How the supervisor and a role talk: one SEQPACKET pair per process, JSON messages, descriptors by SCM_RIGHTS.

supervisor → role: `boot` (settings, names of the descriptors that come with it), `descriptor` (a replacement of one),
`certificate` (a new one for its listener), `drain`. role → supervisor: `ready`, `drained`, `failed`. The pair is also
the lifeline: its end means that the other side is gone, and a role without its supervisor ends itself.

Both sides trust each other; this is not a border. It carries no user data.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from wispd.app.settings import Settings

MESSAGE_MAX: Final = 65_536
DESCRIPTORS_MAX: Final = 16
_PR_SET_PDEATHSIG: Final = 1


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of either side."""

    type: str  # boot, descriptor, certificate, drain | ready, drained, failed
    names: tuple[str, ...] = ()  # of the descriptors that come with it, in order
    role: str = ""
    node_id: str = ""
    settings: Settings | None = None
    deadline_s: float = 0.0
    message: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)


class Peer:
    """One end of a boot pair."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Message, descriptors: Mapping[str, int] | None = None) -> None:
        """Send one message; raises OSError when the other side is gone."""
        fds = list((descriptors or {}).values())
        message = msgspec.structs.replace(message, names=tuple(descriptors or {}))
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self._socket.sendmsg([_encoder.encode(message)], ancillary)

    def receive(self) -> tuple[Message, dict[str, int]] | None:
        """Return the next message and its descriptors (non-inheritable); None when the other side is gone."""
        space = socket.CMSG_SPACE(DESCRIPTORS_MAX * 4)
        try:
            text, ancillary, _, _ = self._socket.recvmsg(MESSAGE_MAX, space, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return None
        if not text:
            return None
        fds = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        message = _decoder.decode(text)
        return message, dict(zip(message.names, fds, strict=True))

    def close(self) -> None:
        self._socket.close()


class BootLink:
    """A role's side: what it was started with, and the messages that come later."""

    def __init__(self, fd: int) -> None:
        self._peer = Peer(fd)
        first = self._peer.receive()
        if first is None or first[0].type != "boot" or first[0].settings is None:
            self._peer.close()
            raise SystemExit("the supervisor is gone")
        message, self.descriptors = first
        self.role = message.role
        self.node_id = message.node_id
        self.settings: Settings = message.settings  # type: ignore[assignment]  # checked above

    def fileno(self) -> int:
        """For `add_reader`, epoll and the like: readable means `receive` has something."""
        return self._peer.fileno()

    def receive(self) -> tuple[Message, dict[str, int]] | None:
        """Return the next message and its descriptors; None: the supervisor is gone, end now."""
        return self._peer.receive()

    def ready(self) -> None:
        """The role serves."""
        self._tell(Message(type="ready"))

    def drained(self) -> None:
        """Everything that was running has ended."""
        self._tell(Message(type="drained"))

    def failed(self, message: str) -> None:
        """The role can't serve, and why."""
        self._tell(Message(type="failed", message=message[:4096]))

    def close(self) -> None:
        self._peer.close()

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # gone: its end of file says so
            self._peer.send(message)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends. After any change of uid, which clears it.

    Source: prctl(2), PR_SET_PDEATHSIG. Elsewhere than on Linux the lifeline alone does it.
    """
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
