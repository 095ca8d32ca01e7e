"""Questions about how one function performed: its profiles, and facts from the records that are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from wispd.adapters.store.records_profiles import read
from wispd.model.profile import Profile
from wispd.model.record import STATUS_WORDS
from wispd.model.statistics import Facts, Outcome, Run

RUNS_MAX: Final = 2000  # newest runs looked at for what made them slow
Rows = Callable[[str, Sequence[Any]], Sequence[Any]]


def profiles(rows: Rows, key: tuple[str, str], *, step: int, first: int, last: int) -> list[tuple[int, Profile]]:
    """Return (slot, profile) of a function (namespace, name) for slots `first` to before `last` of `step` minutes."""
    found = rows(
        "SELECT p.slot, p.sums, p.peak_bytes, p.run, p.delay FROM profile p JOIN function f ON f.id = p.function "
        "WHERE f.namespace = ? AND f.name = ? AND p.step = ? AND p.slot >= ? AND p.slot < ?",
        (*key, step, first, last),
    )
    return [(row[0], read(row[1:])) for row in found]


def facts(rows: Rows, key: tuple[str, str], *, since_id: bytes) -> Facts:
    """Return what a function's records say from an id on. O(records kept)."""
    numbers = rows("SELECT id FROM function WHERE namespace = ? AND name = ?", key)
    if not numbers:
        return Facts()
    wanted = (numbers[0][0], since_id)
    grouped = rows(
        "SELECT status, error_code, memory_bytes, count(*), max(id) FROM invocation "
        "WHERE function = ? AND id >= ? GROUP BY status, error_code, memory_bytes ORDER BY 4 DESC",
        wanted,
    )
    outcomes = []
    for status, code, memory_bytes, count, newest in grouped:
        said = rows("SELECT message FROM failure WHERE function = ? AND id = ?", (wanted[0], newest)) if code else ()
        outcomes.append(
            Outcome(
                status=STATUS_WORDS.get(status, "unknown"),
                code=code,
                memory_bytes=memory_bytes,
                count=count,
                message=said[0][0] if said else "",
            )
        )
    newest_runs = rows(
        "SELECT run_ns, billed_ns, init_ns, cold FROM invocation WHERE function = ? AND id >= ? "
        "ORDER BY id DESC LIMIT ?",
        (*wanted, RUNS_MAX),
    )
    return Facts(
        outcomes=tuple(outcomes),
        runs=tuple(Run(run, billed, init, bool(cold)) for run, billed, init, cold in newest_runs),
    )
