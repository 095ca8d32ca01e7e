"""Control groups, version 2: one delegated subtree; the kernel kills whole groups by itself (`memory.oom.group`)."""

from __future__ import annotations

import contextlib
import os
from typing import Final

from wispd.adapters.engine.process.cgroup import (
    CONTROLLERS,
    CPU_PERIOD_US,
    Limits,
    clean_tree,
    keyed,
    kill_members,
    number,
    read,
    remove_group,
    try_write,
    write,
)

LEAF: Final = "wisp-platform"  # where our own processes go: a group that hands controllers on may hold none


class GroupsV2:
    """Makes instance groups below `<own group>/<name>`.

    `own` must be delegated: writable, with the controllers in its `cgroup.controllers`. Its processes are moved to
    the leaf `wisp-platform` first, unless it is a real root (which has no `cgroup.type`).
    """

    def __init__(self, own: str, name: str, *, memory_bytes: int = 0) -> None:
        self._parent = f"{own}/{name}"
        self.controllers: frozenset[str] = frozenset()
        offered = frozenset(_words(f"{own}/cgroup.controllers")) & frozenset(CONTROLLERS)
        if not offered:
            return
        try:
            os.makedirs(self._parent, exist_ok=True)
            if os.path.exists(f"{own}/cgroup.type"):
                _move_processes(own, f"{own}/{LEAF}")
        except OSError:
            remove_group(self._parent)
            return
        wanted = (c for c in sorted(offered) if try_write(f"{own}/cgroup.subtree_control", f"+{c}"))
        self.controllers = frozenset(
            c for c in list(wanted) if try_write(f"{self._parent}/cgroup.subtree_control", f"+{c}")
        )
        if memory_bytes and "memory" in self.controllers:
            try_write(f"{self._parent}/memory.max", str(memory_bytes))

    def create(self, name: str, limits: Limits) -> GroupV2 | None:
        """Make one group. None when nothing is delegated."""
        if not self.controllers:
            return None
        path = f"{self._parent}/{name}"
        os.mkdir(path)
        group = GroupV2(path, self.controllers)
        group.limit(limits)
        return group

    def clean(self) -> None:
        try_write(f"{self._parent}/cgroup.kill", "1")
        clean_tree(self._parent)


class GroupV2:
    """One instance's directory."""

    def __init__(self, path: str, controllers: frozenset[str]) -> None:
        self._path = path
        self._controllers = controllers
        self._limits = Limits(0, 0, 0)
        if "memory" in controllers:
            try_write(f"{path}/memory.oom.group", "1")
            try_write(f"{path}/memory.swap.max", "0")

    def join(self, pid: int) -> None:
        write(f"{self._path}/cgroup.procs", str(pid))

    def limit(self, limits: Limits) -> None:
        """Write what differs from the limits in force."""
        old, self._limits = self._limits, limits
        if "memory" in self._controllers and limits.memory_bytes != old.memory_bytes:
            write(f"{self._path}/memory.max", str(limits.memory_bytes or "max"))
        if "cpu" in self._controllers and limits.cpu_milli != old.cpu_milli:
            quota = str(limits.cpu_milli * CPU_PERIOD_US // 1000) if limits.cpu_milli else "max"
            write(f"{self._path}/cpu.max", f"{quota} {CPU_PERIOD_US}")
        if "pids" in self._controllers and limits.pids != old.pids:
            write(f"{self._path}/pids.max", str(limits.pids or "max"))

    def oom_descriptor(self) -> int:
        return -1

    def oom_killed(self) -> bool:
        return keyed(f"{self._path}/memory.events", "oom_kill") > 0

    def usage_bytes(self) -> int:
        return number(f"{self._path}/memory.current")

    def peak_bytes(self) -> int:
        return number(f"{self._path}/memory.peak")

    def cpu_ns(self) -> int:
        return keyed(f"{self._path}/cpu.stat", "usage_usec") * 1000

    def remove(self) -> bool:
        if remove_group(self._path):
            return True
        if not try_write(f"{self._path}/cgroup.kill", "1"):
            kill_members(self._path)
        return False


def _words(path: str) -> list[str]:
    try:
        return read(path).split()
    except OSError:
        return []


def _move_processes(source: str, leaf: str) -> None:
    """Move what we may move out of a group, so that it can hand controllers to its children."""
    pids = _words(f"{source}/cgroup.procs")
    if not pids:
        return
    os.makedirs(leaf, exist_ok=True)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            try_write(f"{leaf}/cgroup.procs", pid)
