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


SPARE_MAX: Final = 64  # groups kept for the next instance: to remove one costs the kernel 3 ms
SPARE_BYTES_MAX: Final = 2 << 20  # of file pages a group may have left when it is used again
_KILL_AFTER: Final = 5  # tries; the group of a pid namespace is empty by itself a moment after its end


class GroupsV1:
    """Makes instance groups below `<own group>/<name>` of each hierarchy that is writable."""

    def __init__(self, parents: dict[str, str], name: str, *, memory_bytes: int = 0) -> None:
        self._parents = {key: f"{path}/{name}" for key, path in parents.items() if key in _ACCOUNTED}
        for controller, path in list(self._parents.items()):
            try:
                os.makedirs(path, exist_ok=True)
            except OSError:
                del self._parents[controller]
        self._spare: list[GroupV1] = []
        self.controllers = frozenset(self._parents) & frozenset(CONTROLLERS)
        if memory_bytes and "memory" in self._parents:
            try_write(f"{self._parents['memory']}/memory.limit_in_bytes", str(memory_bytes))

    def create(self, name: str, limits: Limits) -> GroupV1 | None:
        """Make one group in every hierarchy. None when nothing is writable."""
        if not self._parents:
            return None
        if self._spare:
            spare = self._spare.pop()
            spare.limit(limits)
            return spare
        paths = {controller: f"{parent}/{name}" for controller, parent in self._parents.items()}
        for path in set(paths.values()):
            os.mkdir(path)
        group = GroupV1(paths, self._spare)
        group.limit(limits)
        return group

    def clean(self) -> None:
        for path in set(self._parents.values()):
            clean_tree(path)


class GroupV1:
    """One instance's directories; when it ended cleanly they serve another."""

    def __init__(self, paths: dict[str, str], spare: list[GroupV1]) -> None:
        self._spare = spare
        self._tries = 0
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
        if self._keep_for_another():
            return True
        if self._event >= 0:
            with contextlib.suppress(OSError):
                os.close(self._event)
            self._event = -1
        gone = True
        for path in set(self._paths.values()):
            if not remove_group(path):
                gone = False
                if self._tries >= _KILL_AFTER:
                    kill_members(path)
        self._tries += 1
        return gone

    def _keep_for_another(self) -> bool:
        """Become a spare group: only when surely empty, without a trace of exhausted memory, and little left."""
        if "pids" not in self._paths or len(self._spare) >= SPARE_MAX or self._tries:
            return False
        if number(f"{self._paths['pids']}/pids.current", missing=1) or self.oom_killed():
            return False
        memory = self._paths.get("memory")
        if memory is not None:
            if self.usage_bytes() > SPARE_BYTES_MAX or not try_write(f"{memory}/memory.max_usage_in_bytes", "0"):
                return False
            with contextlib.suppress(OSError):  # what it told of a group above
                os.eventfd_read(self._event)
        if "cpuacct" in self._paths and not try_write(f"{self._paths['cpuacct']}/cpuacct.usage", "0"):
            return False
        self._spare.append(self)
        return True
