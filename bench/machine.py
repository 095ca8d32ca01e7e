"""What the bench ran on, and keeping processes on chosen cores."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def description() -> dict[str, object]:
    """Describe the machine well enough to compare two results of it."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
        "cgroup": 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    """Return the commit that was measured; a `+` says that the tree had changes."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def quiet_core() -> int:
    """Return the core that pinned rows use: the last one, as interrupts tend to go to the first."""
    return max(os.sched_getaffinity(0))


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Keep this process, and whatever it starts meanwhile, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin_tree(root: int, cores: set[int]) -> None:
    """Move a process, all below it and all of their threads to these cores; forks inherit it."""
    for pid in tree(root):
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with suppress(OSError):
                    os.sched_setaffinity(int(thread), cores)


def tree(root: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError, IndexError):
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def resident_bytes(pid: int) -> int:
    """Return the private memory of a process where the kernel tells it, else its resident set."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    return 0


def available_bytes() -> int:
    """Return what the kernel says is available: the only figure that counts shared pages once."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")


QUIET_PERCENT = 5.0  # of all cores; above it other work shows in every percentile


def busy_percent(seconds: float = 2.0) -> float:
    """Return how busy the machine is by itself, before anything is measured."""
    before = Noise.ticks()
    time.sleep(seconds)
    spent = [after - first for after, first in zip(Noise.ticks(), before, strict=True)]
    # Source: proc(5), /proc/stat: the fourth field is idle, the fifth waiting for a disk.
    return round(100 * (sum(spent) - spent[3] - spent[4]) / max(1, sum(spent)), 1)


class Noise:
    """Measures what the hypervisor took away meanwhile, to mark doubtful runs."""

    def __init__(self) -> None:
        self._before = self.ticks()
        self._at = time.monotonic()

    def steal_percent(self) -> float:
        """Return the share of time that the hypervisor took away since the start."""
        now = self.ticks()
        total = sum(now) - sum(self._before)
        return round(100 * (now[7] - self._before[7]) / total, 2) if total else 0.0

    @staticmethod
    def ticks() -> list[int]:
        return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
