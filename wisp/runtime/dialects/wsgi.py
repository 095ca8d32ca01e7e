"""The WSGI dialect: Flask, Django, Bottle and every other application of (environ, start_response).

Source: PEP 3333.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from wisp.runtime import calling
from wisp.runtime.dialects import Speaker
from wisp.runtime.dialects.requests import host_of, http_view, peer_of
from wisp.runtime.dialects.results import block_of
from wisp.runtime.failures import AnswerError
from wisp.runtime.frames import BODY_MAX
from wisp.runtime.invocation import Invocation
from wisp.runtime.outcomes import Answer, Streamed
from wisp.runtime.settings import Settings


def speak_wsgi(application: Any, settings: Settings) -> Speaker:
    """Return the speaker of a WSGI application. Its request bodies are read as they arrive."""
    several = settings.concurrency > 1

    def answer(invocation: Invocation) -> Answer:
        exchange = Exchange()
        result = application(environ_of(invocation, several=several), exchange.start_response)
        return exchange.answer(result)

    return Speaker(answer=answer, streaming=True)


def environ_of(invocation: Invocation, *, several: bool) -> dict[str, Any]:
    """Return the WSGI environment of an invocation."""
    view = http_view(invocation)
    host, port = host_of(view.headers, "localhost", 443 if invocation.scheme == "https" else 80)
    peer, _ = peer_of(view.peer)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": view.method,
        "SCRIPT_NAME": _wsgi_text(view.mount),
        "PATH_INFO": _wsgi_text(view.path),
        "QUERY_STRING": view.query.decode("latin-1"),
        "REQUEST_URI": view.target.decode("latin-1"),
        "RAW_URI": view.target.decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": peer,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": invocation.scheme,
        "wsgi.input": _input(invocation),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": several,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wisp.invocation_id": invocation.id,
    }
    for name, value in view.headers:
        _add_header(environ, name, value.decode("latin-1"))
    return environ


def _input(invocation: Invocation) -> io.BufferedIOBase:
    if invocation.open_body:
        return io.BufferedReader(RequestBody(invocation), BODY_MAX)
    return io.BytesIO(invocation.body)


def _add_header(environ: dict[str, Any], name: bytes, text: str) -> None:
    if b"_" in name:
        return  # would be mistaken for the one with a hyphen
    key = name.decode("latin-1").upper().replace("-", "_")
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = "HTTP_" + key
    known = environ.get(key)
    environ[key] = text if known is None else f"{known}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"


def _wsgi_text(path: bytes) -> str:
    """Return a path as PEP 3333 wants it: bytes in the guise of Latin-1."""
    return unquote_to_bytes(path).decode("latin-1")


class RequestBody(io.RawIOBase):
    """`wsgi.input`, read from the link as it comes."""

    def __init__(self, invocation: Invocation) -> None:
        super().__init__()
        self._invocation = invocation
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._rest:
            self._rest = calling.active_link().read_body(self._invocation)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class FileWrapper:
    """`wsgi.file_wrapper`: a file as an iterable of blocks."""

    def __init__(self, file: Any, block_size: int = BODY_MAX) -> None:
        self._file = file
        self._size = min(block_size, BODY_MAX)

    def __iter__(self) -> Iterator[bytes]:
        while block := self._file.read(self._size):
            yield block

    def close(self) -> None:
        close = getattr(self._file, "close", None)
        if close is not None:
            close()


class Exchange:
    """One call of the application: what it said to `start_response` and wrote before it returned."""

    def __init__(self) -> None:
        self._status = 0
        self._pairs: list[tuple[str, str]] = []
        self._written: list[bytes] = []
        self._sent = False

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self._sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._status:
            raise AssertionError("start_response was called twice without exc_info")
        code = status.split(" ", 1)[0]
        if not code.isdigit():
            raise AnswerError(f"the response's status line {status[:60]!r} has no number")
        self._status = int(code)
        self._pairs = list(headers)
        return self._written.append

    def answer(self, result: Iterable[bytes]) -> Answer:
        """Return the answer; the first piece decides when the headers leave."""
        if isinstance(result, list | tuple):
            return self._whole(b"".join([*self._written, *result]), result)
        pieces = iter(result)
        try:
            first = b"".join(self._written) or self._first(pieces)
            status, block = self._head()
        except BaseException:
            _close(result)
            raise
        if self._length() == len(first):
            return self._whole(first, result, pieces)
        return status, block, Streamed(first, pieces, result)

    def _whole(self, body: bytes, result: Iterable[bytes], pieces: Iterator[bytes] | None = None) -> Answer:
        try:
            status, block = self._head()
            for piece in pieces or ():
                body += piece
        finally:
            _close(result)
        return status, block, body

    def _first(self, pieces: Iterator[bytes]) -> bytes:
        for piece in pieces:
            if piece:
                return piece
        return b""

    def _head(self) -> tuple[int, bytes]:
        if not self._status:
            raise AnswerError("the application returned without calling start_response")
        self._sent = True
        return self._status, block_of(self._pairs)

    def _length(self) -> int:
        """Return the length the application announced, -1 when it did not."""
        for name, value in self._pairs:
            if name.lower() == "content-length" and value.isdigit():
                return int(value)
        return -1


def _close(result: object) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()
