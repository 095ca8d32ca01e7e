"""The HTTP server against the floor: a hello that answers directly, next to a raw uvloop + httptools protocol.

    .venv/bin/python bench/http_floor.py [--seconds 3] [--connections 32]

`wrk` and the server share one core, so that requests/s is CPU cost and nothing else. One JSON line per server, then
the ratio. Not pass or fail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
from typing import Any

import httptools
import uvloop

from wispd.base.clock import SystemClock
from wispd.base.errors import Fault
from wispd.gateway.http1 import HttpServer, Problem
from wispd.gateway.http1_application import Exchange
from wispd.model.invocation import Invocation

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nContent-Type: text/plain\r\n\r\nhello world"


class Raw(asyncio.Protocol):
    """As little as a server of this kind can do."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_message_complete(self) -> None:
        self.transport.write(_ANSWER)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)


class Hello:
    """An application that answers at once."""

    def requested(self, exchange: Exchange) -> None:
        exchange.answer(200, b"Content-Type: text/plain\r\n", b"hello world")

    def collected(self, exchange: Exchange, body: bytes) -> None: ...

    def arrived(self, exchange: Exchange, part: bytes, more: bool) -> bool:
        return True

    def gone(self, exchange: Exchange) -> None: ...

    def paused(self, exchange: Exchange) -> None: ...

    def resumed(self, exchange: Exchange) -> None: ...

    def reserve(self, size: int) -> bool:
        return True

    def decorate(self, invocation: Invocation) -> bytes:
        return b""

    def problem(self, fault: Fault, invocation: Invocation | None) -> Problem:
        return Problem(fault.http_status, b"", fault.message.encode())


async def _serve(kind: str, listening: socket.socket, control: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    if kind == "raw":
        await loop.create_server(Raw, sock=listening)
    else:
        await HttpServer(loop, SystemClock(), Hello()).listen(listening)
    await loop.sock_recv(control, 1)


def _start(kind: str) -> tuple[int, socket.socket, threading.Thread]:
    listening = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    thread = threading.Thread(target=lambda: uvloop.run(_serve(kind, listening, theirs)))
    thread.start()
    return listening.getsockname()[1], ours, thread


def measure(kind: str, seconds: int, connections: int) -> float:
    """Return requests/s of one run."""
    port, control, thread = _start(kind)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    finally:
        control.send(b"x")
        thread.join()
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(text)
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert found is not None
    return float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    runs: dict[str, list[float]] = {"raw": [], "wisp": []}
    for _ in range(options.rounds):
        for kind, rates in runs.items():
            rates.append(measure(kind, options.seconds, options.connections))
    medians = {kind: statistics.median(rates) for kind, rates in runs.items()}
    for kind, median in medians.items():
        row = {"row": f"http_{kind}", "connections": options.connections, "requests_per_s": round(median)}
        print(json.dumps(row | {"us_per_request": round(1e6 / median, 2)}))
    print(json.dumps({"row": "http_ratio", "wisp_to_raw": round(medians["wisp"] / medians["raw"], 3)}))


if __name__ == "__main__":
    main()
