"""The reader of requests under any cut of the bytes, and under any bytes."""

from __future__ import annotations

from http_harness import Bench, statuses
from hypothesis import given
from hypothesis import strategies as st

TOKEN = st.text("abcdefghij-XYZ09", min_size=1, max_size=8).map(str.encode)
VALUE = st.text("abc 019,;=\"'()\t", max_size=20).map(lambda text: text.strip(" \t").encode())
BODY = st.binary(max_size=300)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, tuple[bytes, bytes, bytes]]:
    """A correct request, and what a server should make of it."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"]))
    target = b"/" + draw(TOKEN)
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: localhost"]
    lines += [b"X-%b: %b" % (draw(TOKEN), draw(VALUE)) for _ in range(draw(st.integers(0, 3)))]
    body = draw(BODY)
    if draw(st.booleans()):
        lines.append(b"Transfer-Encoding: chunked")
        size = draw(st.integers(1, 100))
        parts = [body[i : i + size] for i in range(0, len(body), size)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    else:
        lines.append(b"Content-Length: %d" % len(body))
        framed = body
    return b"\r\n".join([*lines, b"", framed]), (method, target, body)


@given(st.lists(requests(), min_size=1, max_size=5), st.data(), st.booleans())
def test_any_cut_gives_the_same_requests(
    made: list[tuple[bytes, tuple[bytes, bytes, bytes]]], data: st.DataObject, streamed: bool
) -> None:
    stream = b"".join(raw.replace(b"\r\n\r\n", b"\r\n\r\n", 1) for raw, _ in made)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=20)))
    bench = Bench()
    bench.application.streamed = streamed
    wire = bench.connect()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if end > start:
            bench.send(wire, stream[start:end])
    assert bench.application.requests == [wanted for _, wanted in made]
    assert statuses(wire.out) == [200] * len(made)
    assert not wire.over
    assert bench.application.budget.used_bytes == 0


FRAGMENTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.1\r\n",
        b"Host: localhost\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0",
    ]
)


@given(st.lists(st.one_of(st.binary(max_size=50), FRAGMENTS), max_size=40), st.booleans())
def test_garbage_is_answered_or_ignored_never_worse(parts: list[bytes], streamed: bool) -> None:
    bench = Bench()
    bench.application.streamed = streamed
    wire = bench.connect()
    for part in parts:
        if part and not wire.closed:
            bench.send(wire, part)
    assert set(statuses(wire.out)) <= {100, 200, 400, 405, 413, 417, 431}
    bench.wait(200)
    assert wire.over
    bench.hang_up(wire)
    assert bench.server.statistics().connections == 0
    assert bench.application.budget.used_bytes == 0
