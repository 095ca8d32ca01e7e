"""Control groups, version 1: one hierarchy per controller; the whole-group kill on out-of-memory is ours to do."""

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
    remove_group,
    try_write,
    write,
)

_ACCOUNTED: Final = (*CONTROLLERS, "cpuacct")


class GroupsV1:
    """Makes instance groups below `<own group>/<name>` of each hierarchy that is writable."""

    def __init__(self, parents: dict[str, str], name: str, *, memory_bytes: int = 0) -> None:
        self._parents = {key: f"{path}/{name}" for key, path in parents.items() if key in _ACCOUNTED}
        for controller, path in list(self._parents.items()):
            try:
                os.makedirs(path, exist_ok=True)
            except OSError:
                del self._parents[controller]
        self.controllers = frozenset(self._parents) & frozenset(CONTROLLERS)
        if memory_bytes and "memory" in self._parents:
            try_write(f"{self._parents['memory']}/memory.limit_in_bytes", str(memory_bytes))

    def create(self, name: str, limits: Limits) -> GroupV1 | None:
        """Make one group in every hierarchy. None when nothing is writable."""
        if not self._parents:
            return None
        paths = {controller: f"{parent}/{name}" for controller, parent in self._parents.items()}
        for path in set(paths.values()):
            os.mkdir(path)
        group = GroupV1(paths)
        group.limit(limits)
        return group

    def clean(self) -> None:
        for path in set(self._parents.values()):
            clean_tree(path)


class GroupV1:
    """One instance's directories."""

    def __init__(self, paths: dict[str, str]) -> None:
        self._paths = paths
        self._limits = Limits(0, 0, 0)
        self._event = -1

    def join(self, pid: int) -> None:
        for path in set(self._paths.values()):
            write(f"{path}/cgroup.procs", str(pid))

    def limit(self, limits: Limits) -> None:
        """Write what differs from the limits in force."""
        old, self._limits = self._limits, limits
        if "memory" in self._paths and limits.memory_bytes != old.memory_bytes:
            self._limit_memory(limits.memory_bytes)
        if "cpu" in self._paths and limits.cpu_milli != old.cpu_milli:
            quota = limits.cpu_milli * CPU_PERIOD_US // 1000 or -1
            try_write(f"{self._paths['cpu']}/cpu.cfs_quota_us", str(quota))
        if "pids" in self._paths and limits.pids != old.pids:
            write(f"{self._paths['pids']}/pids.max", str(limits.pids or "max"))

    def _limit_memory(self, size: int) -> None:
        path = self._paths["memory"]
        swap = f"{path}/memory.memsw.limit_in_bytes"
        # Memory plus swap may never be below memory alone: the order depends on the direction.
        if try_write(f"{path}/memory.limit_in_bytes", str(size)):
            try_write(swap, str(size))
        else:
            try_write(swap, str(size))
            write(f"{path}/memory.limit_in_bytes", str(size))

    def oom_descriptor(self) -> int:
        if self._event < 0 and "memory" in self._paths:
            path = self._paths["memory"]
            control = os.open(f"{path}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            try:
                write(f"{path}/cgroup.event_control", f"{event} {control}")
            except OSError:
                os.close(event)
                event = -1
            finally:
                os.close(control)
            self._event = event
        return self._event

    def oom_killed(self) -> bool:
        return "memory" in self._paths and keyed(f"{self._paths['memory']}/memory.oom_control", "oom_kill") > 0

    def usage_bytes(self) -> int:
        return number(f"{self._paths['memory']}/memory.usage_in_bytes") if "memory" in self._paths else 0

    def peak_bytes(self) -> int:
        return number(f"{self._paths['memory']}/memory.max_usage_in_bytes") if "memory" in self._paths else 0

    def cpu_ns(self) -> int:
        return number(f"{self._paths['cpuacct']}/cpuacct.usage") if "cpuacct" in self._paths else 0

    def remove(self) -> bool:
        if self._event >= 0:
            with contextlib.suppress(OSError):
                os.close(self._event)
            self._event = -1
        gone = True
        for path in set(self._paths.values()):
            if not remove_group(path):
                kill_members(path)
                gone = False
        return gone
