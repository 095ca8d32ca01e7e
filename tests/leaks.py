"""Looks for what a test left behind: our child processes, mounts and control groups."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

CGROUPS = Path("/sys/fs/cgroup")
PREFIX = "wisp"


class Snapshot(NamedTuple):
    """What exists at one moment. A process is (pid, start time), so that a reused pid is not mistaken for it."""

    processes: frozenset[tuple[int, str]]
    mounts: frozenset[str]
    cgroups: frozenset[str]


def snapshot(mark: str) -> Snapshot:
    """Look now. `mark` is a folder of this test run: a detached process that names it belongs to us."""
    return Snapshot(frozenset(_processes(mark, spared=frozenset())), _mounts(), _cgroups())


def leftovers(before: Snapshot, mark: str, *, within_s: float) -> list[str]:
    """Return what is there now and was not before, once it had `within_s` to go away."""
    end = time.monotonic() + within_s
    while True:
        left = [f"process {pid} ({_command(pid)})" for pid, _ in sorted(_processes(mark, spared=before.processes))]
        left += [f"mount {point}" for point in sorted(_mounts() - before.mounts)]
        if not _strangers(mark):
            left += [f"cgroup {path}" for path in sorted(_cgroups() - before.cgroups)]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)


def _processes(mark: str, *, spared: frozenset[tuple[int, str]]) -> set[tuple[int, str]]:
    """Return our descendants and the marked ones, but nothing at or below a spared process (a shared node)."""
    table = _table()
    ours = {os.getpid()} | {pid for pid in table if mark.encode() in _read(pid, "cmdline")}
    out = {pid for pid, (_, start) in table.items() if (pid, start) in spared}
    for family in (ours, out):
        grown = True
        while grown:
            more = {pid for pid, (parent, _) in table.items() if parent in family} - family
            grown = bool(more)
            family |= more
    return {(pid, table[pid][1]) for pid in ours - out - {os.getpid()} if pid in table}


def _strangers(mark: str) -> bool:
    """Do others run nodes on this machine? Their control groups look like ours. CI is alone."""
    if os.environ.get("CI") == "true":
        return False
    table = _table()
    ours = {pid for pid, _ in _processes(mark, spared=frozenset())}
    return any(b"wispd." in _read(pid, "cmdline") for pid in table if pid not in ours and pid != os.getpid())


def _table() -> dict[int, tuple[int, str]]:
    """Return pid → (parent, start time) of every process that is not a zombie."""
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _read(int(entry), "stat").decode(errors="replace").rpartition(")")[2].split()
            if fields and fields[0] != "Z":
                table[int(entry)] = (int(fields[1]), fields[19])
    return table


def _command(pid: int) -> str:
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()[:120]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def _mounts() -> frozenset[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return frozenset(f"{line.split()[4]} #{line.split()[0]}" for line in lines)


def _cgroups() -> frozenset[str]:
    found = set()
    for folder, below, _ in os.walk(CGROUPS):
        depth = folder[len(str(CGROUPS)) :].count("/")
        found |= {f"{folder}/{name}" for name in below if name.startswith(PREFIX) or f"/{PREFIX}" in folder}
        if depth > 3:
            below.clear()
    return frozenset(found)
