"""C1: requests that two readers could cut differently are refused, and what hides behind them never runs.

The function of every case counts its calls. The negative control reads the same bytes carelessly and has to let the
hidden request through: a table that can't fail would prove nothing.
"""

from __future__ import annotations

import pytest
from http_harness import Gate, published, statuses

HIDDEN = b"GET /fn/hello/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
CANARY = b"GET /fn/canary HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(*lines: bytes, body: bytes = b"", host: bytes = b"Host: localhost", line: bytes = b"") -> bytes:
    start = line or b"POST /fn/hello HTTP/1.1"
    return b"\r\n".join([start, *([host] if host else []), *lines, b"", b""]) + body


CHUNKED = b"Transfer-Encoding: chunked"

# Whoever believes the other of the two readings sees HIDDEN as a request of its own.
SMUGGLED = {
    "content-length and transfer-encoding": post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + HIDDEN),
    "transfer-encoding and content-length": post(CHUNKED, b"Content-Length: 0", body=HIDDEN),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=HIDDEN),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=HIDDEN),
    "identity": post(b"Transfer-Encoding: identity", body=HIDDEN),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=HIDDEN),
    "quoted": post(b'Transfer-Encoding: "chunked"', body=HIDDEN),
    "vertical tab before chunked": post(b"Transfer-Encoding: \x0bchunked", body=HIDDEN),
    "two transfer-encodings": post(CHUNKED, b"Transfer-Encoding: identity", body=HIDDEN),
    "twice chunked": post(CHUNKED, CHUNKED, body=HIDDEN),
    "two lengths": post(b"Content-Length: 0", b"Content-Length: 50", body=HIDDEN),
    "two equal lengths": post(b"Content-Length: 0", b"Content-Length: 0", body=HIDDEN),
    "length +0": post(b"Content-Length: +0", body=HIDDEN),
    "length 0x5": post(b"Content-Length: 0x5", body=HIDDEN),
    "length -1": post(b"Content-Length: -1", body=HIDDEN),
    "length 0,0": post(b"Content-Length: 0,0", body=HIDDEN),
    "length 0_0": post(b"Content-Length: 0_0", body=HIDDEN),
    "length with a digit beyond ascii": post("Content-Length: ٠".encode(), body=HIDDEN),
    "empty length": post(b"Content-Length:", body=HIDDEN),
    "chunk size 0x0": post(CHUNKED, body=b"0x0\r\n\r\n" + HIDDEN),
    "chunk size +0": post(CHUNKED, body=b"+0\r\n\r\n" + HIDDEN),
    "chunk size -0": post(CHUNKED, body=b"-0\r\n\r\n" + HIDDEN),
    "chunk size 0_0": post(CHUNKED, body=b"0_0\r\n\r\n" + HIDDEN),
    "chunk extension": post(CHUNKED, body=b"0;x=y\r\n\r\n" + HIDDEN),
    "chunk extension without a name": post(CHUNKED, body=b"0;\r\n\r\n" + HIDDEN),
    "blank after the chunk size": post(CHUNKED, body=b"0 \r\n\r\n" + HIDDEN),
    "space before colon": post(b"Content-Length : 50", body=HIDDEN),
    "blank before the name": post(b" Content-Length: 50", body=HIDDEN),
    "folded line": post(b"X: a", b" Transfer-Encoding: chunked", body=HIDDEN),
    "nul in a header": post(b"X: a\0b", body=HIDDEN),
    "control character in a header": post(b"X: a\x01b", body=HIDDEN),
    "carriage return in a header": post(b"X: a\rContent-Length: 50", body=HIDDEN),
    "header without a colon": post(b"nonsense", body=HIDDEN),
    "empty header name": post(b": x", body=HIDDEN),
    "missing host": post(host=b"", body=HIDDEN),
    "double host": post(b"Host: localhost", body=HIDDEN),
    "transfer-encoding in http/1.0": post(
        CHUNKED, b"Connection: keep-alive", line=b"POST /fn/hello HTTP/1.0", body=b"0\r\n\r\n" + HIDDEN
    ),
}

# Refused as they are; a careless reader does not necessarily see a second request in them.
MALFORMED = {
    "chunk ends with a bare line feed": post(CHUNKED, body=b"3;\nabc\r\n0\r\n\r\n" + HIDDEN),
    "chunk longer than its size": post(CHUNKED, body=b"3\r\nabcdef\r\n0\r\n\r\n" + HIDDEN),
    "chunk size of 17 digits": post(CHUNKED, body=b"10000000000000000\r\n" + HIDDEN),
    "chunk size is missing": post(CHUNKED, body=b"\r\n" + HIDDEN),
    "line feed in a header": post(b"X: a\nContent-Length: 50", body=HIDDEN),
    "bare line feeds": post().replace(b"\r\n", b"\n") + HIDDEN,
    "bare line feed at the end": post()[:-2] + b"\n" + HIDDEN,
    "bad trailer": post(CHUNKED, body=b"0\r\nX : y\r\n\r\n" + HIDDEN),
    "two spaces": post(line=b"POST  /fn/hello HTTP/1.1", body=HIDDEN),
    "space in the target": post(line=b"POST /fn/hello x HTTP/1.1", body=HIDDEN),
    "tab instead of space": post(line=b"POST\t/fn/hello HTTP/1.1", body=HIDDEN),
    "http/1.2": post(line=b"POST /fn/hello HTTP/1.2", body=HIDDEN),
    "http/0.9": b"GET /fn/hello\r\n\r\n" + HIDDEN,
    "lower-case method": post(line=b"post /fn/hello HTTP/1.1", body=HIDDEN),
    "unknown method": post(line=b"SMUGGLE /fn/hello HTTP/1.1", body=HIDDEN),
    "fragment": post(line=b"GET /fn/hello#x HTTP/1.1", body=HIDDEN),
    "bytes beyond ascii in the target": post(line=b"GET /fn/hello\xff HTTP/1.1", body=HIDDEN),
    "relative target": post(line=b"GET fn/hello HTTP/1.1", body=HIDDEN),
    "absolute target of another host": post(line=b"GET http://evil/fn/hello HTTP/1.1", body=HIDDEN),
    "absolute target with a user": post(line=b"GET http://x@localhost/fn/hello HTTP/1.1", body=HIDDEN),
    "host with a path": post(host=b"Host: localhost/x", body=HIDDEN),
    "empty host": post(host=b"Host:", body=HIDDEN),
    "host with a user": post(host=b"Host: x@localhost", body=HIDDEN),
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n" + HIDDEN,
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
}

CARELESS = [
    name for name in SMUGGLED if name not in ("vertical tab before chunked", "twice chunked", "gzip, chunked")
]


def gate(*, strict: bool = True) -> Gate:
    return Gate(published("hello"), published("canary"), strict=strict)


def hidden_calls(gate: Gate) -> int:
    return sum(b"hidden" in invocation.frame.partition(b"\r\n")[0] for invocation in gate.calls.invocations)


@pytest.mark.parametrize("name", [*SMUGGLED, *MALFORMED])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
def test_refused_closed_and_nothing_hidden_runs(name: str, cut: bool) -> None:
    door = gate()
    request = {**SMUGGLED, **MALFORMED}[name]
    wire = door.connect()
    for part in [request[i : i + 1] for i in range(len(request))] if cut else [request]:
        door.send(wire, part)
    assert statuses(wire.out) == [400]
    assert wire.over
    assert hidden_calls(door) == 0
    assert door.calls.invocations == []
    assert b"Connection: close\r\n" in wire.out
    assert statuses(door.talk(CANARY).out) == [200]


@pytest.mark.parametrize("name", CARELESS)
def test_negative_control_a_careless_reader_runs_what_is_hidden(name: str) -> None:
    door = gate(strict=False)
    door.talk(SMUGGLED[name])
    assert hidden_calls(door) == 1


@pytest.mark.parametrize(
    "request_",
    [
        post(b"Content-Length: 3", body=b"abc"),
        post(b"content-length:  3 ", body=b"abc"),
        post(b"Transfer-Encoding: Chunked", body=b"3\r\nabc\r\n0\r\n\r\n"),
        post(CHUNKED, body=b"0003\r\nabc\r\n0\r\nX-Trailer: y\r\n\r\n"),
        post(b"X: \x80\xff \t y"),
        post(line=b"POST http://localhost/fn/hello HTTP/1.1"),
        b"\r\n" + post(),
    ],
)
def test_odd_but_right_requests_are_served(request_: bytes) -> None:
    door = gate()
    wire = door.talk(request_ + HIDDEN)
    assert statuses(wire.out) == [200, 200]
    assert hidden_calls(door) == 1  # here it is a request of its own


def test_same_head_again_is_judged_again_by_its_body() -> None:
    door = gate()
    good = post(CHUNKED, body=b"0\r\n\r\n")
    bad = post(CHUNKED, body=b"0x0\r\n\r\n" + HIDDEN)
    wire = door.talk(good + good + bad)
    assert statuses(wire.out) == [200, 200, 400]
    assert hidden_calls(door) == 0
