"""The pool's decisions, uid leases, what a layer imports, and the launcher's parsing of hostile messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wispd.adapters.engine.process import layers, protocol
from wispd.adapters.engine.process.cgroup import Limits
from wispd.adapters.engine.process.instances import Kind, Member, parse_keep, parse_start
from wispd.adapters.engine.process.leases import RANGE_SIZE, SPACE_END, SPACE_FIRST, Leases, default_range
from wispd.adapters.engine.process.pool import BACKOFF_MAX_S, FORKS_AT_ONCE, MEMBERS_MAX, Pool

PLAIN = Kind(0, 0)
OTHER = Kind(0, 1)


def member(number: int, kind: Kind = PLAIN) -> Member:
    return Member(number, kind, 0, Limits(0, 0, 0), 0, 0)


def test_members_come_out_in_the_order_they_went_in() -> None:
    pool = Pool()
    for number in (1, 2, 3):
        pool.put(member(number))
    assert [one.number for one in iter(lambda: pool.take(PLAIN), None)] == [1, 2, 3]
    assert pool.take(OTHER) is None


def test_the_kind_that_lacks_most_is_forked_first_and_only_a_few_at_once() -> None:
    pool = Pool()
    pool.keep(PLAIN, 1)
    pool.keep(OTHER, 5)
    forks = []
    while (kind := pool.next_fork(0.0)) is not None:
        pool.forking(kind)
        forks.append(kind)
    assert forks == [OTHER] * FORKS_AT_ONCE
    pool.forked(OTHER)
    assert pool.next_fork(0.0) == OTHER


def test_a_full_pool_forks_nothing() -> None:
    pool = Pool()
    pool.keep(PLAIN, 2)
    pool.put(member(1))
    pool.put(member(2))
    assert pool.next_fork(0.0) is None


def test_keeping_fewer_gives_the_rest_back() -> None:
    pool = Pool()
    pool.keep(PLAIN, 3)
    for number in (1, 2, 3):
        pool.put(member(number))
    assert [one.number for one in pool.keep(PLAIN, 1)] == [1, 2]
    assert [one.number for one in pool.keep(PLAIN, 0)] == [3]
    assert pool.next_fork(0.0) is None


def test_nobody_can_ask_for_more_than_the_limit() -> None:
    pool = Pool()
    pool.keep(PLAIN, 60_000)
    assert pool.wanted(PLAIN) == MEMBERS_MAX


def test_failing_forks_back_off_and_recover() -> None:
    pool = Pool()
    pool.keep(PLAIN, 1)
    delays = []
    now_s = 0.0
    for _ in range(12):
        assert pool.next_fork(now_s) == PLAIN
        pool.forking(PLAIN)
        delays.append(pool.failed(PLAIN, now_s))
        assert pool.next_fork(now_s) is None
        now_s += delays[-1]
    assert delays == sorted(delays)
    assert delays[-1] == BACKOFF_MAX_S
    pool.forking(PLAIN)
    pool.forked(PLAIN)
    pool.forking(PLAIN)
    assert pool.failed(PLAIN, now_s) == delays[0]


def test_uids_are_reused_as_late_as_possible() -> None:
    leases = Leases(1000, 3)
    assert [leases.take() for _ in range(4)] == [1000, 1001, 1002, None]
    leases.give_back(1001)
    leases.give_back(1000)
    assert [leases.take(), leases.take(), leases.take()] == [1001, 1000, None]


def test_without_a_range_everybody_has_the_own_uid() -> None:
    leases = Leases(0, 0)
    assert leases.take() == leases.take() == 0
    leases.give_back(0)
    assert Leases(0, 0, shared=77).take() == 77


def test_the_default_range_is_stable_and_avoids_what_is_taken(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0::/:/bin/sh\nbroken\n")
    free = default_range("/data", etc=str(tmp_path))
    assert free == default_range("/data", etc=str(tmp_path))
    assert SPACE_FIRST <= free.first <= SPACE_END - RANGE_SIZE
    (tmp_path / "subuid").write_text(f"someone:{free.first + 5}:1\n")
    moved = default_range("/data", etc=str(tmp_path))
    assert moved.first != free.first
    (tmp_path / "passwd").write_text(f"someone:x:{moved.first}:1::/:/bin/sh\n")
    assert default_range("/data", etc=str(tmp_path)).first not in (free.first, moved.first)
    (tmp_path / "subgid").write_text(f"all:{SPACE_FIRST}:{SPACE_END - SPACE_FIRST}\n")
    with pytest.raises(OSError, match="taken"):
        default_range("/data", etc=str(tmp_path))


def test_a_layer_names_what_to_import(tmp_path: Path) -> None:
    for name in ("alpha", "beta", "_hidden", "gone-1"):
        (tmp_path / name).mkdir()
    info = tmp_path / "alpha-1.dist-info"
    info.mkdir()
    (info / "top_level.txt").write_text("alpha\n_hidden\nabsent\n")
    other = tmp_path / "beta-1.dist-info"
    other.mkdir()
    (other / "RECORD").write_text("beta/__init__.py,,\nbeta/inner/__init__.py,,\nbeta.py,,\n")
    assert layers.modules(str(tmp_path)) == ["alpha", "beta"]
    (tmp_path / layers.PRELOAD).write_text("numpy.linalg\nos; import evil\nalpha\n")
    assert layers.modules(str(tmp_path)) == ["numpy.linalg", "import", "evil", "alpha"]
    (tmp_path / layers.PRELOAD).write_text("")
    assert layers.modules(str(tmp_path)) == []


@given(st.binary(max_size=400))
def test_no_garbage_is_taken_for_a_start(content: bytes) -> None:
    try:
        request = parse_start(content, 0)
    except ValueError:
        return
    assert len(content) == protocol.START_MESSAGE.size + len(request.allow) * protocol.ALLOW.size
    assert 0 <= request.kind.network < len(protocol.NETWORKS)
    assert request.limits.memory_bytes > 0
    assert len(bytes.fromhex(request.code)) == 32


def start(**changes: int) -> bytes:
    fields = {"network": 0, "runtime": 0, "allow": 0, "memory": 1 << 28, "scratch": 1 << 27, "pids": 128} | changes
    return protocol.START_MESSAGE.pack(
        protocol.START,
        fields["network"],
        fields["runtime"],
        fields["allow"],
        7,
        fields["memory"],
        fields["scratch"],
        1000,
        fields["pids"],
        b"n" * 32,
        b"c" * 32,
        bytes(32),
    )


def test_a_start_without_a_layer_belongs_to_no_namespace() -> None:
    assert parse_start(start(), 0).kind == PLAIN


@pytest.mark.parametrize(
    "content",
    [
        start(network=3),
        start(memory=0),
        start(memory=1 << 60),
        start(scratch=1 << 29),
        start(pids=0),
        start(pids=1 << 20),
        start(allow=1),
        start() + b"x",
        start(allow=33) + bytes(33 * protocol.ALLOW.size),
        start()[:-1],
    ],
)
def test_a_start_out_of_bounds_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="START"):
        parse_start(content, 0)


@pytest.mark.parametrize("content", [b"\x04", bytes(200), b"\x04\x09" + bytes(67)])
def test_a_keep_out_of_shape_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="KEEP"):
        parse_keep(content)
