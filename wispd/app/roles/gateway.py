"""The gateway process: one thread, one loop."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys

import uvloop

from wispd.app.boot import BootLink
from wispd.app.certificates import DESCRIPTOR, renew, server_context
from wispd.app.gateway import GatewayNode
from wispd.app.scheduling import GATEWAY_SLICE_NS, ask_slice
from wispd.base.clock import SystemClock

_QUIET_S = 0.02  # between two looks whether draining is done
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 256 * 1024 * 1024
_MAPPED_ABOVE_BYTES = 32 * 1024 * 1024


def run(boot: BootLink) -> int:
    """Serve until told to drain, or until the supervisor is gone."""
    keep_memory()
    ask_slice(GATEWAY_SLICE_NS)
    return uvloop.run(_serve(boot))


async def _serve(boot: BootLink) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    node = GatewayNode(loop, SystemClock(), boot.settings, boot.node_id)
    _take_launcher(node, boot.descriptors)
    tls = server_context(boot.descriptors[DESCRIPTOR]) if DESCRIPTOR in boot.descriptors else None

    def end() -> None:
        if not ended.done():
            ended.set_result(0)

    def told() -> None:
        received = boot.receive()
        if received is None:
            os._exit(0)  # the supervisor is gone: nobody is left to finish for
        message, descriptors = received
        _take_launcher(node, descriptors)
        if tls is not None and DESCRIPTOR in descriptors:
            renew(tls, descriptors[DESCRIPTOR])
        if message.type == "drain":
            node.drain()
            _await_quiet(loop, node, boot)

    loop.add_reader(boot.fileno(), told)
    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the supervisor, which tells us
    public = socket.socket(fileno=boot.descriptors["public"])
    internal = socket.socket(fileno=boot.descriptors["internal"])
    await node.open(public, internal, tls)
    boot.ready()
    code = await ended
    node.close()
    return code


def _take_launcher(node: GatewayNode, descriptors: dict[str, int]) -> None:
    if "launcher" in descriptors:
        node.engine.connect(descriptors["launcher"])


def _await_quiet(loop: asyncio.AbstractEventLoop, node: GatewayNode, boot: BootLink) -> None:
    if node.quiet:
        boot.drained()
    else:
        loop.call_later(_QUIET_S, _await_quiet, loop, node, boot)


def keep_memory() -> None:
    """Let the C library keep what large bodies used, instead of returning and faulting it in again for each one.

    Measured: cutting a 6 MB body into frames takes 0.4 ms instead of 4.3. Source: mallopt(3).
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
        if mallopt is not None:
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
            mallopt(_M_MMAP_THRESHOLD, _MAPPED_ABOVE_BYTES)
