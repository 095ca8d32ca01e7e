"""Memory, cpu and process limits of instances through control groups, version 1 or 2, whichever the host delegates.

One parent group `wisp-<id>` carries the node's budget, one child each instance. Nothing here is required: without a
writable control group the node goes on and names what is missing. All paths come from outside, so the logic runs on a
plain directory tree in tests. Source: Documentation/admin-guide/cgroup-v1, cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from typing import Final, Protocol

CONTROLLERS: Final = ("memory", "cpu", "pids")
CPU_PERIOD_US: Final = 100_000
CLEAN_S: Final = 2.0
CLEAN_PAUSE_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one instance. `cpu_milli`: thousandths of a processor, 0 for no limit."""

    memory_bytes: int
    cpu_milli: int
    pids: int


class Group(Protocol):
    """The control group of one instance. Readings are 0 where their controller is missing."""

    def join(self, pid: int) -> None: ...

    def limit(self, limits: Limits) -> None: ...

    def oom_descriptor(self) -> int:
        """A descriptor that becomes readable when memory ran out; -1 where the kernel kills all itself."""

    def oom_killed(self) -> bool: ...

    def usage_bytes(self) -> int: ...

    def peak_bytes(self) -> int: ...

    def cpu_ns(self) -> int: ...

    def remove(self) -> bool:
        """Kill what is left and remove the group; False while the kernel still holds it. Idempotent."""


class Groups(Protocol):
    """Where groups are made. `controllers` tells what is really enforced."""

    controllers: frozenset[str]

    def create(self, name: str, limits: Limits) -> Group | None: ...

    def clean(self) -> None:
        """Kill and remove everything below the parent, and the parent."""


class NoGroups:
    """A host that delegates nothing."""

    controllers: frozenset[str] = frozenset()

    def create(self, name: str, limits: Limits) -> Group | None:
        return None

    def clean(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Places:
    """Directories of our own group. `one`: controller → directory (version 1); `two`: "" without version 2."""

    one: dict[str, str]
    two: str


def places(proc: str = "/proc") -> Places:
    """Find the caller's own groups from /proc/self/cgroup and mountinfo. Missing files mean none."""
    try:
        own, mounts = read(f"{proc}/self/cgroup"), read(f"{proc}/self/mountinfo")
    except OSError:
        return Places({}, "")
    paths = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        paths[names] = path
    one: dict[str, str] = {}
    two = ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split()[3:5]
        kind, _, options = right.split()[:3]
        if kind == "cgroup2" and "" in paths:
            two = _below(point, root, paths[""])
        elif kind == "cgroup":
            for names, path in paths.items():
                if names and set(names.split(",")) <= set(options.split(",")):
                    one |= {name: _below(point, root, path) for name in names.split(",")}
    return Places(one, two)


def _below(point: str, root: str, path: str) -> str:
    """Where a group's path lies when the mount at `point` shows the hierarchy from `root` on."""
    if root != "/" and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    return os.path.normpath(point + "/" + path)


def read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def number(path: str, *, missing: int = 0) -> int:
    """The integer in a file; `missing` when there is none ("max", no such file)."""
    try:
        return int(read(path))
    except (OSError, ValueError):
        return missing


def keyed(path: str, key: str) -> int:
    """The number after `key` in a file of "key number" lines; 0 when absent."""
    with contextlib.suppress(OSError, ValueError):
        for line in read(path).splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    return 0


def write(path: str, text: str) -> None:
    """Write one value with one system call, as these files want it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def try_write(path: str, text: str) -> bool:
    try:
        write(path, text)
    except OSError:
        return False
    return True


def kill_members(directory: str) -> None:
    """SIGKILL every process of a group (not of those below)."""
    with contextlib.suppress(OSError):
        for pid in read(f"{directory}/cgroup.procs").split():
            if pid != "0":  # a process of another pid namespace has no number here
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(pid), signal.SIGKILL)


def remove_group(directory: str) -> bool:
    """Remove an empty group; True when it is gone."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def clean_tree(directory: str) -> None:
    """Kill and remove all groups below a directory and the directory.

    The kernel holds a group for a moment after its last process, so it is tried for CLEAN_S; what is left then stays.
    """
    end = time.monotonic() + CLEAN_S
    while not _clean_once(directory) and time.monotonic() < end:
        time.sleep(CLEAN_PAUSE_S)


def _clean_once(directory: str) -> bool:
    if not os.path.isdir(directory):
        return True
    below = [entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    left = [path for path in below if not _clean_once(path)]
    kill_members(directory)
    return not left and remove_group(directory)
