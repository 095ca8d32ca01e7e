"""WebSockets: one client that sends a short text and waits for its echo, again and again."""

from __future__ import annotations

import time

from websockets.sync.client import connect

TEXT = "hello world"
WARM_UP = 200  # echoes that are not measured


def echo_rate(url: str, seconds: float) -> float:
    """Return the echoes a second of one connection to `url` (http://…); raises when one is wrong."""
    with connect(url.replace("http://", "ws://", 1), compression=None, proxy=None) as link:
        for _ in range(WARM_UP):
            link.send(TEXT)
            if (received := link.recv(timeout=10)) != TEXT:
                raise RuntimeError(f"the echo was {received!r}")
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            link.send(TEXT)
            link.recv(timeout=10)
            count += 1
    return count / elapsed
