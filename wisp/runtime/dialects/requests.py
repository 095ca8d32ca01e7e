"""An invocation as the HTTP request that web applications see, whatever it came as."""

from __future__ import annotations

from typing import NamedTuple

from wisp.runtime.invocation import Invocation


class HttpView(NamedTuple):
    """`path` and `mount` are still percent-encoded; header names are lower-case."""

    method: str
    target: bytes
    mount: bytes
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    peer: str


def http_view(invocation: Invocation) -> HttpView:
    """Return the request; an event that did not come over HTTP is a POST to `/` in CloudEvents binary mode."""
    request = invocation.request
    if invocation.is_http:
        return HttpView(
            request.method,
            request.target,
            request.mount,
            request.path,
            request.query,
            request.headers,
            request.peer,
        )
    headers = [(b"host", b"localhost"), *request.headers]
    if not invocation.open_body:
        headers.append((b"content-length", str(len(invocation.body)).encode()))
    return HttpView("POST", b"/", b"", b"/", b"", headers, "127.0.0.1:0")


def host_of(headers: list[tuple[bytes, bytes]], host: str, port: int) -> tuple[str, int]:
    """Return (host, port) of the Host header, or the defaults."""
    for name, value in headers:
        if name == b"host":
            return split_address(value.decode("latin-1"), host, port)
    return host, port


def peer_of(text: str) -> tuple[str, int]:
    """Return (address, port) of the client."""
    return split_address(text, "127.0.0.1", 0)


def split_address(text: str, host: str, port: int) -> tuple[str, int]:
    """Split `host:port`, `[v6]:port` or a bare address; what is missing is taken from the defaults."""
    if text in ("", "-"):
        return host, port
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        tail = rest.removeprefix(":")
    elif text.count(":") == 1:
        name, _, tail = text.partition(":")
    else:
        name, tail = text, ""
    return name, int(tail) if tail.isdigit() and len(tail) < 6 else port
