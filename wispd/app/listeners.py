"""Listening sockets of a node. The supervisor holds them, so that they survive the processes that serve them."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from pathlib import Path
from typing import Final

from wispd.base.errors import Fault

BACKLOG: Final = 4096
UNIX_PATH_MAX: Final = 107  # bytes; source: unix(7)


def listen(host: str, port: int, *, flag: str) -> socket.socket:
    """Bind and listen on a TCP address; port 0 takes any free one.

    Raises: `Fault("conflict")` when the port is taken, `Fault("invalid_argument")` when the address can't be had.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise Fault("invalid_argument", f"{host!r} is not an IP address; say for example 127.0.0.1") from error
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((str(address), port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise _explained(error, host, port, flag=flag) from error
    listener.setblocking(False)
    return listener


def _explained(error: OSError | OverflowError, host: str, port: int, *, flag: str) -> Fault:
    if isinstance(error, OverflowError):
        return Fault("invalid_argument", f"port {port} is not between 0 and 65535 ({flag})")
    if error.errno == errno.EADDRINUSE:
        text = (
            f"port {port} on {host} is taken by another program; "
            f"see which with `ss -ltnp sport = :{port}`, or choose another port with {flag}"
        )
        return Fault("conflict", text, port=port, host=host)
    if error.errno == errno.EACCES:
        return Fault("forbidden", f"port {port} is reserved for root; choose one above 1023 with {flag}", port=port)
    return Fault("invalid_argument", f"can't listen on {host} port {port}: {error.strerror}", port=port, host=host)


def listen_unix(path: Path) -> socket.socket:
    """Bind and listen on a Unix socket that only its owner may use; a stale one is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    os.chmod(path, 0o600)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket, *, secure: bool = False) -> str:
    """Return a URL that reaches a TCP listener from this machine."""
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    scheme = "https" if secure else "http"
    return f"{scheme}://[{reachable}]:{port}" if ":" in reachable else f"{scheme}://{reachable}:{port}"
