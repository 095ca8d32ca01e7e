"""Listening sockets, bound before anything else starts, so that a taken port is the first thing anybody hears of."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import Final

from wispd.base.errors import Fault

BACKLOG: Final = 4_096


def listen_tcp(host: str, port: int, flag: str) -> socket.socket:
    """Bind and listen; port 0 takes any free one.

    Raises: `Fault("conflict")` for a taken port, `Fault("invalid_argument")` for an address that is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise _no_listener(host, port, flag, error) from error
    return listening


def _no_listener(host: str, port: int, flag: str, error: Exception) -> Fault:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        message = f"port {port} of {host} is taken by another program; choose another with {flag} PORT, or 0 for any"
        return Fault("conflict", message, port=port, host=host)
    if number == errno.EACCES:
        return Fault("invalid_argument", f"port {port} of {host} needs root; choose one above 1023 with {flag}")
    return Fault("invalid_argument", f"can't listen on {host}, port {port}: {error}", port=port, host=host)


def listen_unix(path: Path, owner_uid: int) -> socket.socket:
    """Bind a Unix socket (0600, owned by the services), replacing what a former node left there.

    Raises: `Fault("invalid_argument")` when the path is too long for a socket's address.
    """
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        listening.bind(str(path))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        message = f"can't make the socket {path} ({len(str(path))} bytes, limit 107): {error}; use a shorter --data"
        raise Fault("invalid_argument", message) from error
    finally:
        os.umask(old)
    if owner_uid >= 0 and os.geteuid() == 0:
        os.chown(path, owner_uid, owner_uid)
    return listening


def address(listening: socket.socket) -> tuple[str, int]:
    """Return (host, port) of a bound TCP socket."""
    name = listening.getsockname()
    return str(name[0]), int(name[1])
