"""Tell the service manager that the node serves. Source: sd_notify(3)."""

from __future__ import annotations

import contextlib
import socket

READY = b"READY=1"


def notify(address: str, state: bytes) -> None:
    """Send one state to the manager's socket; nothing without one, and nothing happens if nobody listens there."""
    if not address:
        return
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as ours, contextlib.suppress(OSError):
        ours.sendto(state, path)
