"""Load on an HTTP server: wrk where it is installed, else a small generator in Python (named in the row's note)."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent


class Load(NamedTuple):
    """What one run of load showed. Every answer was a 2xx."""

    rate_per_s: float
    p50_us: float
    p99_us: float
    generator: str


def ensure_wrk() -> bool:
    """Install wrk where we may; return whether it is there."""
    if shutil.which("wrk"):
        return True
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "wrk"]):
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return shutil.which("wrk") is not None


def run(url: str, *, connections: int, seconds: float) -> Load:
    """Load `url` with keep-alive connections; raises `RuntimeError` if any answer was not a 2xx."""
    if shutil.which("wrk"):
        return _wrk(url, connections, seconds)
    return _python(url, connections, seconds)


def _wrk(url: str, connections: int, seconds: float) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(HERE / "report.lua"), url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    found = json.loads(line.removeprefix("RESULT "))
    if found["bad_status"] or found["broken"] or not found["requests"]:
        raise RuntimeError(f"{url}: not all answers were good: {found}")
    rate = found["requests"] / (found["duration_us"] / 1e6)
    return Load(rate, found["p50_us"], found["p99_us"], "wrk")


def _python(url: str, connections: int, seconds: float) -> Load:
    """One thread, one request in flight per connection, answers found by their Content-Length."""
    parts = urlsplit(url)
    request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        link = socket.create_connection((parts.hostname, parts.port or 80), timeout=10)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(link, selectors.EVENT_READ, [time.perf_counter_ns(), b""])
        link.sendall(request)
    latencies: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for key, _ in selector.select(timeout=5):
            _answered(key, request, latencies)
    elapsed = time.perf_counter() - start
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    latencies.sort()
    count = len(latencies)
    return Load(count / elapsed, latencies[count // 2], latencies[min(count - 1, count * 99 // 100)], "python")


def _answered(key: selectors.SelectorKey, request: bytes, latencies: list[float]) -> None:
    link, state = key.fileobj, key.data
    state[1] += link.recv(65536)  # type: ignore[union-attr]
    head, found, body = state[1].partition(b"\r\n\r\n")
    if not found:
        return
    if not head.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(f"not a good answer: {head[:200]!r}")
    length = next((int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0)
    if len(body) >= length:
        latencies.append((time.perf_counter_ns() - state[0]) / 1e3)
        state[0], state[1] = time.perf_counter_ns(), b""
        link.sendall(request)  # type: ignore[union-attr]
