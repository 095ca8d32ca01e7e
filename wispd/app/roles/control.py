"""The control process: the admin listener. Known functions are served without it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
import uvloop

from wispd.api.admin_protocol import AdminProtocol
from wispd.app.boot import BootLink
from wispd.app.certificates import DESCRIPTOR, renew, server_context
from wispd.app.control import ControlNode
from wispd.base.clock import SystemClock
from wispd.base.errors import Fault

IDLE_S: Final = 75
STOP_S: Final = 3  # for requests in flight; the supervisor waits a little longer


class AdminServer(uvicorn.Server):
    """uvicorn on our terms: signals are ours, and the supervisor hears when it serves."""

    def __init__(self, config: uvicorn.Config, boot: BootLink) -> None:
        super().__init__(config)
        self._boot = boot

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._boot.ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: Ctrl-C reaches the supervisor, which tells us."""
        yield


def run(boot: BootLink) -> int:
    """Serve until told to drain, or until the supervisor is gone."""
    try:
        return uvloop.run(_serve(boot))
    except Fault as fault:
        boot.failed(fault.message)
        return 1


async def _serve(boot: BootLink) -> int:
    loop = asyncio.get_running_loop()
    node = ControlNode(boot.settings, boot.node_id, SystemClock())
    config = uvicorn.Config(
        node.application(),
        http=AdminProtocol,
        ws="none",
        lifespan="off",
        log_level="critical",  # the gate tells of errors, without what callers sent
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=STOP_S,
    )
    config.load()
    tls = server_context(boot.descriptors[DESCRIPTOR]) if DESCRIPTOR in boot.descriptors else None
    config.ssl = tls
    server = AdminServer(config, boot)

    def end() -> None:
        node.stopping.set()
        server.should_exit = True

    def told() -> None:
        received = boot.receive()
        if received is None:
            os._exit(0)  # the supervisor is gone: nobody is left to answer
        if tls is not None and DESCRIPTOR in received[1]:
            renew(tls, received[1][DESCRIPTOR])
        if received[0].type == "drain":
            end()

    loop.add_reader(boot.fileno(), told)
    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    admin = socket.socket(fileno=boot.descriptors["admin"])
    await node.serve(lambda: server.serve([admin]))
    boot.drained()
    return 0
