"""What is billed: wall time less the wait for a CPU, and equal shares where events share an instance."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from wispd.gateway.billing import READ_ABOVE_NS, BusyShare, RunDelay


def schedstat(path: Path, cpu_ns: int, delay_ns: int) -> None:
    """Write what /proc/<pid>/schedstat says: CPU time, run delay, time slices."""
    path.write_text(f"{cpu_ns} {delay_ns} 7\n")


def test_waiting_for_a_cpu_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "schedstat"
    schedstat(path, 1_000_000, 2_000_000)
    delay = RunDelay(os.open(path, os.O_RDONLY))
    delay.mark()
    schedstat(path, 31_000_000, 72_000_000)
    assert delay.waited(100_000_000) == 70_000_000, "30 ms on a CPU within 100 ms: 30 ms are billed"
    assert delay.waited(100_000_000) == 0, "counted once"
    delay.close()


def test_without_the_kernels_count_everything_is_billed() -> None:
    """The negative control: the protection switched off bills the contention."""
    delay = RunDelay(-1)
    delay.mark()
    assert delay.waited(100_000_000) == 0


def test_short_runs_cost_no_look_at_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "schedstat"
    schedstat(path, 0, 0)
    delay = RunDelay(os.open(path, os.O_RDONLY))
    schedstat(path, 0, 900_000)
    assert delay.waited(READ_ABOVE_NS - 1) == 0
    delay.close()


def test_the_wait_is_never_more_than_the_run(tmp_path: Path) -> None:
    path = tmp_path / "schedstat"
    schedstat(path, 0, 0)
    delay = RunDelay(os.open(path, os.O_RDONLY))
    schedstat(path, 0, 10**12)
    assert delay.waited(5_000_000) == 5_000_000
    delay.close()


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 1000)), min_size=1, max_size=20))
def test_shares_of_events_in_one_instance_add_up_to_its_busy_time(events: list[tuple[int, int]]) -> None:
    edges = sorted(
        [(at, 1, n) for n, (at, _) in enumerate(events)] + [(at + d, 0, n) for n, (at, d) in enumerate(events)]
    )
    share, inside, billed, busy, last = BusyShare(), 0, 0, 0, 0
    for at, joins, number in edges:
        busy += (at - last) if inside else 0
        last = at
        if joins:
            share.joined(number, at * 1000, inside)
            inside += 1
        else:
            billed += share.left(number, at * 1000, inside)
            inside -= 1
    assert abs(billed - busy * 1000) <= len(events), "rounded down once per event"
