"""Framing of answers: status lines, Date, and how the end of a body is marked. Pure. Source: RFC 9112 §6, §7.1."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus if status >= 200
}


def status_line(status: int) -> bytes:
    """Return the status line, CRLF included. `status`: 200 to 999."""
    known = _STATUS_LINES.get(status)
    return known if known is not None else b"HTTP/1.1 %d \r\n" % status


def bodiless(status: int) -> bool:
    """Does the status itself say that there is no body?"""
    return status in (204, 304)


def date_line(unix_s: int) -> bytes:
    """Return the Date header and the head's last line."""
    return f"Date: {formatdate(unix_s, usegmt=True)}\r\n\r\n".encode()


def chunk(body: bytes | memoryview, more: bool) -> bytes:
    """Return `body` as one chunk, with the last one after it unless there is more."""
    if not body:
        return b"" if more else LAST_CHUNK
    if more:
        return b"".join((b"%x\r\n" % len(body), body, b"\r\n"))
    return b"".join((b"%x\r\n" % len(body), body, b"\r\n0\r\n\r\n"))
