"""The wire format under everything a peer may send: round trip, garbage, truncation, hostile sizes, split streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wisp.runtime import frames
from wisp.runtime.frames import Frame, FrameError, StreamDecoder, parse

heads = st.binary(max_size=300) | st.just(b"h" * frames.BLOCK_MAX)
bodies = st.binary(max_size=300) | st.just(b"b" * frames.BODY_MAX)
whole_frames = st.builds(
    Frame,
    type=st.sampled_from(sorted(frames.TYPES)),
    flags=st.integers(0, 255),
    meta=st.integers(0, 65_535),
    call=st.integers(0, 2**64 - 1),
    head=heads,
    body=bodies,
)


def packed(frame: Frame) -> bytes:
    return frames.pack(frame.type, frame.call, flags=frame.flags, meta=frame.meta, head=frame.head, body=frame.body)


@given(whole_frames)
def test_what_is_packed_is_parsed(frame: Frame) -> None:
    assert parse(packed(frame)) == frame


@given(st.binary(max_size=400))
def test_garbage_is_a_frame_error_or_a_frame_that_packs_to_it(packet: bytes) -> None:
    try:
        frame = parse(packet)
    except FrameError:
        return
    assert packed(frame) == packet


@given(whole_frames, st.data())
def test_a_cut_packet_is_refused(frame: Frame, draw: st.DataObject) -> None:
    packet = packed(frame)
    size = draw.draw(st.integers(0, len(packet) - 1))
    with pytest.raises(FrameError):
        parse(packet[:size])


@given(whole_frames, st.binary(min_size=1, max_size=50))
def test_a_packet_with_something_behind_it_is_refused(frame: Frame, rest: bytes) -> None:
    with pytest.raises(FrameError):
        parse(packed(frame) + rest)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=64))
def test_lengths_that_lie_are_refused(head_len: int, body_len: int, rest: bytes) -> None:
    packet = frames.HEADER.pack(frames.BODY, 0, 0, head_len, 1, body_len) + rest
    if head_len + body_len == len(rest):
        assert parse(packet).body == rest[head_len:]
    else:
        with pytest.raises(FrameError):
            parse(packet)


def test_a_body_above_the_limit_is_refused() -> None:
    assert parse(frames.pack(frames.BODY, 1, body=bytes(frames.BODY_MAX))).type == frames.BODY
    with pytest.raises(FrameError):
        parse(frames.pack(frames.BODY, 1, body=bytes(frames.BODY_MAX + 1)))


def test_a_packet_above_the_limit_is_refused() -> None:
    with pytest.raises(FrameError):
        parse(frames.pack(frames.INIT, head=bytes(frames.PACKET_MAX)))


@given(st.integers(0, 255), st.integers(0, 255))
def test_an_unknown_type_needs_the_optional_flag(type_: int, flags: int) -> None:
    packet = frames.pack(type_, flags=flags)
    if type_ in frames.TYPES or flags & frames.OPTIONAL:
        assert parse(packet).type == type_
    else:
        with pytest.raises(FrameError):
            parse(packet)


@given(st.lists(whole_frames, max_size=4), st.data())
def test_a_stream_cut_anywhere_gives_the_same_frames(sent: list[Frame], draw: st.DataObject) -> None:
    stream = b"".join(packed(frame) for frame in sent)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder, got = StreamDecoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += decoder.feed(stream[start:end])
    assert got == sent


@given(st.integers(frames.PACKET_MAX, 2**63))
def test_a_stream_that_announces_too_much_is_refused_before_it_is_kept(body_len: int) -> None:
    header = frames.HEADER.pack(frames.BODY, 0, 0, 0, 1, body_len)
    with pytest.raises(FrameError):
        StreamDecoder().feed(header)


@given(st.integers(0, 3 * frames.BODY_MAX), st.booleans())
def test_a_long_body_is_split_and_comes_back(size: int, more: bool) -> None:
    body = bytes(i % 251 for i in range(min(size, 1000))) * (size // 1000 + 1)
    parts = [parse(packet) for packet in frames.pack_body(7, body, more=more)]
    assert b"".join(part.body for part in parts) == body
    assert all(part.flags & frames.MORE for part in parts[:-1])
    assert bool(parts[-1].flags & frames.MORE) == more
    assert all(part.call == 7 and part.type == frames.BODY for part in parts)


def test_the_structs_of_the_hot_path_agree_with_their_parts() -> None:
    head = frames.INVOKE_HEAD.pack(1, 2, bytes(range(16)), 3, 4)
    packet = frames.pack(frames.INVOKE, 9, flags=frames.HTTP, meta=5, head=head, body=b"x")
    fields = frames.INVOKE_FRAME.unpack_from(packet)
    assert fields == (frames.INVOKE, frames.HTTP, 5, len(head), 9, 1, 1, 2, bytes(range(16)), 3, 4)
    head = frames.OUTCOME_HEAD.pack(1, 2, 3, 4, 5)
    packet = frames.pack(frames.OUTCOME, 9, meta=200, head=head)
    assert frames.OUTCOME_FRAME.unpack(packet)[4:] == (9, 0, 1, 2, 3, 4, 5)
    echo = frames.OUTCOME_ECHO.unpack(packet)
    assert echo[4] == packet[frames.CALL_FIELD] == (9).to_bytes(8, "little")
