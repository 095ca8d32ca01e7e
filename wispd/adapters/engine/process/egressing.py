"""The launcher's care for the egress broker: started before it is needed, started again when it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

from wispd.adapters.engine.process import broker
from wispd.adapters.engine.process.instances import Member, StartRequest
from wispd.adapters.engine.process.loop import Loop

_PAUSE_S: Final = 1.0  # between the end of one broker and the next start


class Egress:
    """Hands the seccomp notifiers of instances to the broker. Instances of a broker that died have no network."""

    def __init__(self, loop: Loop, *, uid: int, watch: Callable[[int, Callable[[], None]], None]) -> None:
        self._loop = loop
        self._uid = uid
        self._watch = watch
        self._handle: broker.BrokerHandle | None = None

    @property
    def pid(self) -> int:
        """The broker's process, 0 when there is none."""
        return self._handle.pid if self._handle is not None else 0

    def start(self) -> None:
        """Start a broker if there is none. Raises `OSError`."""
        if self._handle is None:
            self._handle = broker.start(uid=self._uid)
            self._watch(self._handle.pid, self._ended)

    def admit(self, member: Member, request: StartRequest) -> None:
        """Serve a member from now on, by its function's allow list. Raises `OSError` when there is no broker."""
        if member.notifier < 0:
            return
        if self._handle is None:
            raise OSError("the egress broker is gone")
        self._handle.adopt(member.number, member.notifier, member.pid, request.allow)
        os.close(member.notifier)
        member.notifier = -1

    def kill(self) -> None:
        """End the broker; its connection's end does it."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _ended(self) -> None:
        sys.stderr.write("launcher: the egress broker ended; running instances lose their network\n")
        if self._handle is not None:
            self._handle.close()
            self._handle = None
        self._loop.call_later(_PAUSE_S, self.start)
