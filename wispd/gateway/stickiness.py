"""The value that keeps a caller with one version: found in a request's head, or issued as a cookie. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from wispd.model.alias import Sticky


def value_of(sticky: Sticky, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """Return the sticky value of a request; None when it brings none. Header names are lower-case."""
    name = sticky.header.lower().encode()
    if name:
        return next((value for found, value in headers if found == name and value), None)
    return cookie(sticky.cookie.encode(), headers)


def cookie(name: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """Return the value of the first cookie of that name. Source: RFC 6265 §5.4."""
    for found, line in headers:
        if found != b"cookie":
            continue
        for pair in line.split(b";"):
            key, mark, value = pair.partition(b"=")
            if mark and key.strip() == name and value.strip():
                return value.strip()
    return None


def issued(sticky: Sticky, value: str, *, path: str) -> bytes:
    """Return the header line that gives a caller its value."""
    return f"Set-Cookie: {sticky.cookie}={value}; Path={path}; HttpOnly; SameSite=Lax\r\n".encode()
