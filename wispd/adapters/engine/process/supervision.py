"""The launcher's end of the boot descriptor: the supervisor's messages, and its end as the end of everything."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from typing import Final

from wispd.adapters.engine.process import descriptors
from wispd.adapters.engine.process.loop import Loop

_MESSAGE_MAX: Final = 65_536


class Supervision:
    """Speaks `wispd.app.boot`'s messages with nothing but the standard library. The supervisor is trusted."""

    def __init__(self, link: socket.socket, loop: Loop) -> None:
        self._link = link
        self._loop = loop

    def watch(self, *, connect: Callable[[int], None], gone: Callable[[], None]) -> None:
        """Call `connect` with each new descriptor of a gateway, `gone` when the supervisor is."""
        self._loop.add(self._link.fileno(), lambda: self._read(connect, gone))

    def ready(self) -> None:
        """Say that starts are possible."""
        self._tell({"type": "ready"})

    def failed(self, message: str) -> None:
        """Say that starts will never be possible, and why."""
        self._tell({"type": "failed", "message": message[:4096]})

    def _tell(self, message: dict[str, str]) -> None:
        with contextlib.suppress(OSError):
            self._link.send(json.dumps(message).encode())

    def _read(self, connect: Callable[[int], None], gone: Callable[[], None]) -> None:
        try:
            packet = descriptors.receive(self._link, _MESSAGE_MAX)
        except (OSError, descriptors.PacketError):
            gone()
            return
        if not packet.content:
            gone()
            return
        message = json.loads(packet.content)
        names = message.get("names", ())
        if message.get("type") == "drain":
            self._tell({"type": "drained"})  # the gateway drains; we have nothing running of our own
        for name, number in zip(names, packet.descriptors, strict=False):
            if name == "gateway":
                connect(number)
            else:
                descriptors.close_all([number])
        descriptors.close_all(packet.descriptors[len(names) :])
