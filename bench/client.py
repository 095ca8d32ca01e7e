"""A small blocking HTTP/1.1 client that measures, and one that keeps many connections busy. No dependencies."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

TIMEOUT_S = 60.0


class Timed(NamedTuple):
    """One exchange: status, body, milliseconds from the first byte sent to the first and to the last received."""

    status: int
    body: bytes
    first_ms: float
    total_ms: float


class Link:
    """One keep-alive connection."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{host}:{port}"

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, method: str, path: str, *, body: bytes = b"", headers: str = "") -> Timed:
        """Send one request and read its whole answer. `headers` are lines that each end with CR LF."""
        head = request_head(self._host, method, path, headers=headers, length=len(body))
        start = time.perf_counter_ns()
        self.socket.sendall(head + body if len(body) < 65536 else head)
        if len(body) >= 65536:
            self.socket.sendall(body)
        return self._read(start)

    def _read(self, start: int) -> Timed:
        received = bytearray()
        first = 0
        while (split := received.find(b"\r\n\r\n")) < 0:
            self._more(received)
            first = first or time.perf_counter_ns()
        status, length = parse_head(bytes(received[:split]))
        at = split + 4
        body = self._chunked(received, at) if length is None else self._exactly(received, at, length)
        end = time.perf_counter_ns()
        return Timed(status, body, (first - start) / 1e6, (end - start) / 1e6)

    def _more(self, received: bytearray) -> None:
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("the server closed the connection within an answer")
        received += piece

    def _exactly(self, received: bytearray, start: int, length: int) -> bytes:
        """Read into one buffer of the right size: growing one would be measured too."""
        body = bytearray(length)
        have = min(len(received) - start, length)
        body[:have] = received[start : start + have]
        view = memoryview(body)
        while have < length:
            got = self.socket.recv_into(view[have:])
            if not got:
                raise ConnectionError("the server closed the connection within a body")
            have += got
        return bytes(body)

    def _chunked(self, received: bytearray, start: int) -> bytes:
        """Collect the parts and join them once: a body that grows part by part is copied again and again."""
        parts: list[bytes] = []
        while True:
            while (end := received.find(b"\r\n", start)) < 0:
                self._more(received)
            size = int(received[start:end], 16)
            while len(received) < end + 2 + size + 2:
                self._more(received)
            if not size:
                return b"".join(parts)
            parts.append(bytes(memoryview(received)[end + 2 : end + 2 + size]))
            start = end + 2 + size + 2
            if start >= len(received):  # nothing left over: do not carry what was taken along
                received, start = bytearray(), 0


def request_head(host: str, method: str, path: str, *, headers: str = "", length: int = 0) -> bytes:
    sized = f"Content-Length: {length}\r\n" if length or method in ("POST", "PUT") else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}{sized}\r\n".encode()


def parse_head(head: bytes) -> tuple[int, int | None]:
    """Return status and Content-Length; None means chunked."""
    lines = head.split(b"\r\n")
    status = int(lines[0].split(b" ", 2)[1])
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    if fields.get(b"transfer-encoding") == b"chunked":
        return status, None
    return status, int(fields.get(b"content-length", b"0"))


def many(port: int, paths: list[str], *, connections: int) -> tuple[float, dict[int, int]]:
    """Get every path once over so many connections; return the seconds it took and the answers by status."""
    todo = iter(paths)
    statuses: dict[int, int] = {}
    selector = selectors.DefaultSelector()
    start = time.perf_counter()
    for _ in range(min(connections, len(paths))):
        link = Link(port)
        selector.register(link.socket, selectors.EVENT_READ, [link, bytearray()])
        _send_next(link, port, todo)
    answered = 0
    while answered < len(paths):
        for key, _ in selector.select(timeout=TIMEOUT_S) or _stuck(answered):
            link, received = key.data
            received += link.socket.recv(65536) or _closed()
            split = received.find(b"\r\n\r\n")
            if split >= 0:
                status, length = parse_head(bytes(received[:split]))
                if len(received) >= split + 4 + (length or 0):
                    statuses[status] = statuses.get(status, 0) + 1
                    answered += 1
                    received.clear()
                    _send_next(link, port, todo)
    elapsed = time.perf_counter() - start
    for key in list(selector.get_map().values()):
        key.data[0].socket.close()
    return elapsed, statuses


def _send_next(link: Link, port: int, todo: Iterator[str]) -> None:
    path = next(todo, None)
    if path is not None:
        link.socket.sendall(request_head(f"127.0.0.1:{port}", "GET", path))


def _stuck(answered: int) -> list[tuple[selectors.SelectorKey, int]]:
    raise TimeoutError(f"no answer within {TIMEOUT_S} s after {answered} answers")


def _closed() -> bytes:
    raise ConnectionError("the server closed a connection")
