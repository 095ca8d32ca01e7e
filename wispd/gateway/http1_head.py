"""The head of one request: strictly parsed, cached by its bytes. Sans-I/O.

Two readers must agree on every head: llhttp (through httptools) and the checks here. The framing of the body follows
from `Head` alone, never from the parser's state, so that one reader decides where a request ends.
Source: RFC 9112, RFC 9110; the refusals are those of the request smuggling literature.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import httptools

from wispd.base.errors import Fault
from wispd.gateway.http1_limits import Limits

CHUNKED: Final = -1  # Head.length of a chunked body

_CACHED_MAX: Final = 2_048  # heads
_CACHED_HEAD_MAX: Final = 2_048  # bytes of one head: 4 MiB in total, and about as much for what is parsed from them
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_START: Final = re.compile(rb"[A-Z-]{1,32} [!-~]+ HTTP/1\.[01]\Z")  # RFC 9112 §3, with exactly one space
_FIELDS: Final = re.compile(rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*\Z")  # RFC 9112 §5: no obs-fold
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}\Z")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?]*)([/?].*)?\Z", re.IGNORECASE)
_REFUSED: Final = frozenset({b"CONNECT", b"TRACE"})
_NO_VALUES: Final[list[bytes]] = []
_PREFACE: Final = b"PRI * HTTP/2.0"


class Head:
    """One request head. Never changed, so that equal bytes share it; `prepared` is the application's own cache.

    Header names are lower-case, values stripped. `target` is in origin-form (or `*`). `length` is the body's size,
    0 without a body, `CHUNKED` where only its end will tell.
    """

    __slots__ = (
        "_index",
        "expects",
        "headers",
        "host",
        "keep_alive",
        "length",
        "method",
        "minor",
        "path",
        "prepared",
        "target",
        "websocket",
    )

    def __init__(self, method: bytes, target: bytes, minor: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.target = target
        self.path = target.partition(b"?")[0]
        self.minor = minor  # HTTP/1.<minor>
        self.headers = headers
        self.host = b""
        self.length = 0
        self.expects = False  # 100-continue
        self.keep_alive = minor == 1
        self.websocket = False  # it offers to switch to the WebSocket protocol
        self.prepared: Any = None
        self._index: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            self._index.setdefault(name, []).append(value)

    def values(self, name: bytes) -> list[bytes]:
        """Return all values of a (lower-case) header. Not to be changed."""
        return self._index.get(name, _NO_VALUES)


class _Reader:
    """httptools' callbacks for one head."""

    __slots__ = ("completed", "headers", "on_header", "url")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.on_header: Callable[[bytes, bytes], None] = self._keep
        self.url = b""
        self.completed = 0

    def _keep(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_headers_complete(self) -> None:
        self.completed += 1


class HeadParser:
    """Parses heads. One for all connections of a server.

    `strict=False` exists for negative controls in tests: it leaves out every check of this file and llhttp's own.
    """

    def __init__(self, limits: Limits, *, strict: bool = True) -> None:
        self._limits = limits
        self.strict = strict
        self.cache: dict[bytes, Head] = {}

    def parse(self, block: bytes) -> Head:
        """Return the head of `block`: everything up to and including the empty line.

        Raises: `malformed_request`, `method_not_allowed`, `expectation_failed`, `uri_too_long`, `headers_too_large`.
        """
        head = self.cache.get(block)
        if head is None:
            head = self._parse(block)
            if len(block) <= _CACHED_HEAD_MAX:
                if len(self.cache) >= _CACHED_MAX:
                    self.cache.clear()
                self.cache[block] = head
        return head

    def check_partial(self, start: bytes, checked: int) -> None:
        """Refuse a head that is not complete yet as soon as it can't become a good one.

        `start` is all of it so far, of which `checked` bytes were here the last time.
        """
        limits = self._limits
        line, crlf, rest = start.partition(b"\r\n")
        if start.startswith(_PREFACE):
            raise _refused_preface()
        if not crlf and len(line) > limits.uri_bytes + 64:
            raise Fault("uri_too_long", f"the request line is longer than {limits.uri_bytes} bytes")
        if len(rest) > limits.headers_bytes:
            raise Fault("headers_too_large", f"headers are longer than {limits.headers_bytes} bytes")
        if self.strict and _BARE_LF.search(start, checked):
            raise Fault("malformed_request", "a line ends with a bare line feed")

    def _parse(self, block: bytes) -> Head:
        line, _, fields = block[:-2].partition(b"\r\n")
        self._check_sizes(line, fields)
        if self.strict:
            self._check_bytes(line, fields)
        reader = _Reader()
        parser = httptools.HttpRequestParser(reader)
        if not self.strict:
            parser.set_dangerous_leniencies(
                lenient_headers=True,
                lenient_chunked_length=True,
                lenient_transfer_encoding=True,
                lenient_optional_lf_after_cr=True,
                lenient_optional_cr_before_lf=True,
            )
        try:
            parser.feed_data(block)
        except httptools.HttpParserUpgrade:
            pass  # an upgrade is an offer: this server does not take it
        except httptools.HttpParserError as error:
            if self.strict:
                raise Fault("malformed_request", f"the request can't be parsed: {error}") from None
        if reader.completed != 1 and self.strict:
            raise Fault("malformed_request", "the request's head does not end where its empty line is")
        minor = 0 if line.endswith(b"HTTP/1.0") else 1
        head = Head(line.partition(b" ")[0], reader.url, minor, reader.headers)
        self._interpret(head)
        return head

    def _check_sizes(self, line: bytes, fields: bytes) -> None:
        limits = self._limits
        target = line.count(b" ") and len(line.split(b" ")[1])
        if target > limits.uri_bytes:
            raise Fault("uri_too_long", f"the target is {target} bytes, limit {limits.uri_bytes}")
        count = fields.count(b"\r\n")
        if len(fields) > limits.headers_bytes or count > limits.headers:
            raise Fault(
                "headers_too_large",
                f"{count} headers of {len(fields)} bytes, limits {limits.headers} and {limits.headers_bytes}",
            )

    @staticmethod
    def _check_bytes(line: bytes, fields: bytes) -> None:
        if line.startswith(_PREFACE):
            raise _refused_preface()
        if _START.match(line) is None:
            raise Fault("malformed_request", f"request line {line[:80]!r} is not METHOD SP target SP HTTP/1.1")
        if _FIELDS.match(fields) is None:
            raise Fault("malformed_request", "a header line is not `name: value` in valid characters")

    def _interpret(self, head: Head) -> None:
        if head.method in _REFUSED:
            raise Fault("method_not_allowed", f"{head.method.decode()} is not served", allow="")
        if self.strict:
            _set_host(head)
            _set_target(head)
            _set_length(head)
        else:
            _guess_length(head)
        for value in head.values(b"connection"):
            options = {option.strip() for option in value.lower().split(b",")}
            head.keep_alive = (head.keep_alive or b"keep-alive" in options) and b"close" not in options
        if head.method == b"GET" and head.minor and _offers_websocket(head):
            head.websocket = True
            head.keep_alive = False  # refused, what follows may be frames: they are never read as requests
        expectations = head.values(b"expect")
        if any(value.lower() != b"100-continue" for value in expectations):
            raise Fault("expectation_failed", f"expectation {expectations[0][:40]!r} is not known")
        head.expects = bool(expectations) and head.minor == 1 and head.length != 0


def _offers_websocket(head: Head) -> bool:
    return b"websocket" in _options(head, b"upgrade") and b"upgrade" in _options(head, b"connection")


def _options(head: Head, name: bytes) -> set[bytes]:
    return {option.strip().lower() for value in head.values(name) for option in value.split(b",")}


def _refused_preface() -> Fault:
    return Fault("malformed_request", "HTTP/2 is not spoken here; use HTTP/1.1")


def _set_host(head: Head) -> None:
    hosts = head.values(b"host")
    if len(hosts) != 1 and (hosts or head.minor == 1):
        raise Fault("malformed_request", f"{len(hosts)} Host headers, exactly one is needed")
    if hosts:
        if _HOST.match(hosts[0]) is None:
            raise Fault("malformed_request", f"Host {hosts[0][:80]!r} is not a host")
        head.host = hosts[0].lower()


def _set_target(head: Head) -> None:
    target = head.target
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.match(target)  # RFC 9112 §3.2.2: has to be understood
        if absolute is not None and absolute[1].lower() == head.host != b"":
            rest = absolute[2] or b"/"
            head.target = rest if rest.startswith(b"/") else b"/" + rest
            head.path = head.target.partition(b"?")[0]
        elif target != b"*" or head.method != b"OPTIONS":
            raise Fault("malformed_request", f"target {target[:80]!r} is not a path of this host")
    if b"#" in target:
        raise Fault("malformed_request", "a target has no fragment")


def _set_length(head: Head) -> None:
    """RFC 9112 §6.3, without its leniencies."""
    lengths = head.values(b"content-length")
    codings = head.values(b"transfer-encoding")
    if codings:
        if lengths:
            raise Fault("malformed_request", "Content-Length and Transfer-Encoding in one request")
        if codings != [b"chunked"] and [coding.lower() for coding in codings] != [b"chunked"]:
            raise Fault("malformed_request", f"Transfer-Encoding {b', '.join(codings)[:80]!r} is not `chunked`")
        if head.minor == 0:
            raise Fault("malformed_request", "Transfer-Encoding in HTTP/1.0")
        head.length = CHUNKED
    elif lengths:
        if len(lengths) > 1 or _LENGTH.match(lengths[0]) is None:
            raise Fault("malformed_request", f"Content-Length {b', '.join(lengths)[:80]!r} is not one plain number")
        head.length = int(lengths[0])


def _guess_length(head: Head) -> None:
    """What a careless server does; only for negative controls."""
    head.host = (head.values(b"host") or [b"localhost"])[0].lower()
    if head.values(b"transfer-encoding") == [b"chunked"]:
        head.length = CHUNKED
    lengths = head.values(b"content-length")
    if lengths:
        try:
            head.length = max(0, int(lengths[0]))
        except ValueError:
            head.length = 0
