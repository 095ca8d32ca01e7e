"""Chunked request bodies, strictly: RFC 9112 §7.1 without extensions. Sans-I/O."""

from __future__ import annotations

import re
from typing import Final

from wispd.base.errors import Fault

_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}\Z")
_TRAILER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\Z")
_LINE_MAX: Final = 256  # a size line: nobody needs extensions, and long ones were used to burn CPU (CVE-2023-39326)
_TRAILERS_MAX: Final = 8_192


class ChunkedReader:
    """Takes the bytes of one chunked body apart.

    `strict=False` exists for negative controls in tests: chunk sizes are read as Python's `int` reads them.
    """

    __slots__ = ("_left", "_rest", "_strict", "_trailers", "done", "size")

    def __init__(self, *, strict: bool = True) -> None:
        self._rest = b""
        self._left = 0  # of the chunk that is being read; counts its CRLF too
        self._trailers = -1  # bytes of trailers, once the last chunk was seen
        self._strict = strict
        self.size = 0  # body bytes so far
        self.done = False

    def feed(self, received: bytes) -> tuple[bytes, bytes]:
        """Return the body bytes in `received`, and what follows the body's end (when `done`).

        Raises: `malformed_request`, `headers_too_large` (trailers).
        """
        buffer = self._rest + received if self._rest else received
        parts: list[bytes] = []
        position = 0
        while not self.done:
            if self._left:
                position, short = self._content(buffer, position, parts)
                if short:
                    break
                continue
            end = buffer.find(b"\r\n", position)
            if end < 0:
                self._check_line(buffer[position : position + _TRAILERS_MAX + 1])
                break
            self._line(buffer[position:end])
            position = end + 2
        self._rest = b"" if self.done else buffer[position:]
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.size += len(body)
        return body, buffer[position:] if self.done else b""

    def _content(self, buffer: bytes, position: int, parts: list[bytes]) -> tuple[int, bool]:
        """Take what is there of the chunk and its CRLF; True when more input is needed."""
        if self._left > 2:
            part = buffer[position : position + self._left - 2]
            if part:
                parts.append(part)
                position += len(part)
                self._left -= len(part)
            if self._left > 2:
                return position, True
        ending = buffer[position : position + 2]
        if ending != b"\r\n"[: len(ending)]:
            raise Fault("malformed_request", "a chunk is longer than its size says")
        if len(ending) < 2:
            return position, True
        self._left = 0
        return position + 2, False

    def _line(self, line: bytes) -> None:
        if self._trailers >= 0:
            self._trailer(line)
            return
        self._check_line(line)
        size = self._size(line)
        if size:
            self._left = size + 2
        else:
            self._trailers = 0

    def _size(self, line: bytes) -> int:
        if not self._strict:
            return abs(int(line.split(b";")[0].strip() or b"0", 16))
        if _SIZE.match(line) is None:
            raise Fault("malformed_request", f"chunk size {line[:40]!r} is not a plain hexadecimal number")
        return int(line, 16)

    def _trailer(self, line: bytes) -> None:
        """Trailers are checked and dropped."""
        if not line:
            self.done = True
            return
        self._trailers += len(line) + 2
        if self._trailers > _TRAILERS_MAX:
            raise Fault("headers_too_large", f"trailers are longer than {_TRAILERS_MAX} bytes")
        if self._strict and _TRAILER.match(line) is None:
            raise Fault("malformed_request", "a trailer line is not `name: value` in valid characters")

    def _check_line(self, line: bytes) -> None:
        limit = _TRAILERS_MAX if self._trailers >= 0 else _LINE_MAX
        if len(line) > limit or (self._strict and b"\n" in line):
            raise Fault("malformed_request", f"a chunk's line is longer than {limit} bytes or ends with a bare LF")
