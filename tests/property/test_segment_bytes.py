"""Whatever happens to a segment's bytes, what is read back is a clean prefix of what was written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from wispd.model.record import Batch
from wispd.observe import entries
from wispd.observe.entries import ColdStarted, Declared, Dropped, End, Entry, Logged, cuts, scan
from wispd.observe.folding import fold

_u32 = st.integers(0, 2**32 - 1)
_u64 = st.integers(0, 2**64 - 1)
_names = st.text("abcdefgh-_", min_size=1, max_size=64)
_entries = st.one_of(
    st.builds(Declared, _u32, _u32, _names, _names, _names),
    st.builds(Logged, _u32, st.binary(min_size=16, max_size=16), _u64, _u32, st.binary(max_size=300)),
    st.builds(ColdStarted, st.booleans(), _u32, _u64, _u64, _u64),
    st.builds(Dropped, _u64, _u64),
    st.builds(
        entries.Finished,
        *[st.integers(0, 255)] * 3,
        _u32,
        st.binary(min_size=16, max_size=16),
        *[_u64] * 8,
        *[_u32] * 4,
        *[st.integers(0, 65_535)] * 2,
        *[st.binary(max_size=100)] * 3,
    ),
)


def _pack(entry: Entry) -> bytes:
    if isinstance(entry, Declared):
        body = entries.pack_declare(entry)
    elif isinstance(entry, Logged):
        body = entries.pack_log(entry)
    elif isinstance(entry, ColdStarted):
        body = entries.pack_cold(entry)
    elif isinstance(entry, Dropped):
        body = entries.pack_dropped(entry)
    else:
        tail = entry.error + entry.trace + entry.log
        sizes = (len(entry.log), len(entry.trace), entry.http_status, entry.attempt, len(entry.error))
        size = entries.FINISHED_SIZE + len(tail)
        body = entries.FINISHED_BODY.pack(size, entries.FINISHED, *entry[:17], *sizes) + tail
    return entries.crc32(body).to_bytes(4, "little") + body


@given(st.lists(_entries, max_size=12))
def test_what_was_written_is_read(written: list[Entry]) -> None:
    block = b"".join(map(_pack, written))
    found = scan(block + bytes(64))
    assert (found.entries, found.consumed, found.end) == (written, len(block), End.OPEN)
    sealed = entries.pack_sealed()
    found = scan(block + entries.crc32(sealed).to_bytes(4, "little") + sealed)
    assert (found.entries, found.end) == (written, End.SEALED)


@settings(max_examples=60)
@given(st.lists(_entries, min_size=1, max_size=6), st.sampled_from([b"", bytes(64)]))
def test_any_cut_leaves_a_clean_prefix(written: list[Entry], after: bytes) -> None:
    """Cut at every byte, with nothing behind (a short read) or zeros (a preallocated file, its writer killed)."""
    block = b"".join(map(_pack, written))
    ends = [0, *cuts(block)]
    for cut in range(len(block)):
        left = block[:cut] + after
        found = scan(left)
        whole = sum(left[:end] == block[:end] for end in ends) - 1  # an entry may end in zeros of its own
        assert found.entries == written[:whole]
        assert found.consumed == ends[whole]
        assert found.end is not End.SEALED


@given(st.lists(_entries, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_flipped_bit_ends_the_prefix_there(written: list[Entry], random: object) -> None:
    block = bytearray(b"".join(map(_pack, written)))
    at = random.randrange(len(block))  # type: ignore[attr-defined]
    block[at] ^= 1 << random.randrange(8)  # type: ignore[attr-defined]
    found = scan(bytes(block))
    assert found.entries == written[: len(found.entries)]
    assert found.consumed <= at


@given(st.binary(max_size=2000))
def test_random_bytes_never_raise(block: bytes) -> None:
    found = scan(block)
    assert found.consumed <= len(block)
    fold(Batch(node_id=b"", epoch=1), found.entries, {})


@given(st.integers(1, 6), st.binary(max_size=300))
def test_random_bytes_with_a_good_checksum_never_raise(kind: int, rest: bytes) -> None:
    """Lengths inside an entry are checked too, not only its frame."""
    body = (9 + len(rest)).to_bytes(4, "little") + bytes([kind]) + rest
    block = entries.crc32(body).to_bytes(4, "little") + body
    found = scan(block + bytes(16))
    fold(Batch(node_id=b"", epoch=1), found.entries, {})
    if found.entries and not isinstance(found.entries[0], Declared):
        assert len(found.entries) == 1


@given(st.lists(_entries, max_size=8))
def test_folding_counts_what_finished_and_stays_within_the_stores_numbers(written: list[Entry]) -> None:
    batch = Batch(node_id=b"", epoch=1)
    fold(batch, written, {})
    finished = [entry for entry in written if isinstance(entry, entries.Finished)]
    assert batch.count == len(finished) == sum(sums[0] for sums in batch.usage.values())
    assert all(0 <= number < 2**63 for sums in batch.usage.values() for number in sums)
