"""The envelope of WebSocket messages: whatever is packed comes out, however it is cut; lies are refused."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wisp.runtime.frames import FrameError
from wisp.runtime.messages import (
    BINARY,
    CLOSE,
    GOES_ON,
    PART,
    TEXT,
    PartReader,
    pack_close,
    pack_part,
    parse_close,
)

MESSAGES = st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.lists(st.binary(max_size=40), min_size=1)))


def read(stream: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    """Feed a stream in pieces; return whole messages."""
    reader, found, parts = PartReader(), [], b""
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        reader.feed(stream[start:end])
        while (part := reader.take()) is not None:
            parts += part.body
            if part.last:
                found.append((part.kind, parts))
                parts = b""
    assert reader.whole
    return found


@given(MESSAGES, st.lists(st.integers(0, 10_000)))
def test_what_is_packed_comes_out_however_it_is_cut(messages: list[tuple[int, list[bytes]]], cuts: list[int]) -> None:
    stream = b"".join(
        pack_part(kind, body, last=index == len(bodies) - 1)
        for kind, bodies in messages
        for index, body in enumerate(bodies)
    )
    assert read(stream, cuts) == [(kind, b"".join(bodies)) for kind, bodies in messages]


@given(st.integers(1000, 4999), st.text())
def test_a_close_keeps_its_code_and_as_much_of_its_reason_as_fits(code: int, reason: str) -> None:
    reader = PartReader()
    reader.feed(pack_close(code, reason))
    part = reader.take()
    assert part is not None
    found, text = parse_close(part.body)
    assert (part.kind, part.last, found) == (CLOSE, True, code)
    whole = reason.encode("utf-8", "replace").decode()
    assert whole.startswith(text)
    assert text == whole or len(text.encode()) > 119


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_garbage_is_refused_or_read_and_never_gives_more_than_came(pieces: list[bytes]) -> None:
    reader, given_out = PartReader(), 0
    with contextlib.suppress(FrameError):
        for piece in pieces:
            reader.feed(piece)
            for part in iter(reader.take, None):
                given_out += len(part.body)
    assert given_out <= len(b"".join(pieces))


@pytest.mark.parametrize(
    "stream",
    [
        PART.pack(0, 0),
        PART.pack(3, 0),
        PART.pack(9, 0),
        PART.pack(TEXT | GOES_ON, 0) + PART.pack(BINARY, 0),
        PART.pack(CLOSE, 126) + b"x" * 126,
        PART.pack(CLOSE | GOES_ON, 2) + b"\xe8\x03",
        pack_close(1000, "") + pack_part(TEXT, b"more"),
    ],
)
def test_lies_are_refused(stream: bytes) -> None:
    reader = PartReader()
    reader.feed(stream)
    with pytest.raises(FrameError):
        list(iter(reader.take, None))


@pytest.mark.parametrize("body", [b"", b"\xe8", b"\xe8\x03\xff", b"\x00\x00", b"\xff\xff"])
def test_a_close_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        parse_close(body)


def test_a_close_may_break_a_message_off() -> None:
    reader = PartReader()
    reader.feed(pack_part(TEXT, b"half", last=False) + pack_close(1009, ""))
    kinds = [part.kind for part in iter(reader.take, None)]
    assert kinds == [TEXT, CLOSE]
    assert reader.whole
