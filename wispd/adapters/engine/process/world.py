"""What a launcher works with: mode, settings, groups, uids, and the acts on one member that depend on them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Final

from wispd.adapters.engine.process.cgroup import Groups
from wispd.adapters.engine.process.config import LauncherSettings
from wispd.adapters.engine.process.handover import Handover
from wispd.adapters.engine.process.instances import Member, StartRequest
from wispd.adapters.engine.process.leases import Leases
from wispd.adapters.engine.process.loop import Loop
from wispd.adapters.engine.process.networks import Networks

# What a member has copied before its group counts it; measured 1.5 to 2 MiB.
MEMBER_BYTES: Final = 2 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class World:
    """Collaborators of the launcher's parts. Without namespaces `handover` is None."""

    def __init__(
        self,
        settings: LauncherSettings,
        loop: Loop,
        *,
        groups: Groups,
        leases: tuple[Leases, Leases],
        handover: Handover | None,
        networks: Networks | None,
    ) -> None:
        self.settings = settings
        self.loop = loop
        self.mode = settings.mode
        self.groups = groups
        self.leases, self.layer_leases = leases
        self._handover = handover
        self.networks = networks
        self.was_ready = False
        self.ready: Callable[[], None] = lambda: None

    @property
    def level(self) -> str:
        """The named level of isolation."""
        if self.mode == "process":
            return "process"
        full = self.mode == "root" and {"memory", "pids"} <= self.groups.controllers
        return "full" if full else "namespaces"

    @property
    def sessions(self) -> bool:
        """Are members process groups rather than pid namespaces?"""
        return self.mode == "process"

    def note_ready(self) -> None:
        """The first zygote forks: the launcher serves."""
        if not self.was_ready:
            self.was_ready = True
            self.ready()

    def enclose(self, member: Member) -> None:
        """Make a forked member's control group and put it in. Raises `OSError`."""
        member.group = self.groups.create(f"i{member.number:x}", member.limits)
        if member.group is not None:
            member.group.join(member.pid)

    def specialise(self, member: Member, request: StartRequest, trees: list[tuple[int, str]]) -> None:
        """Give a member its code, layer and limits. Raises `OSError`."""
        if self._handover is not None:
            scratch = request.scratch_bytes if request.scratch_bytes != member.scratch_bytes else 0
            foreign = member.kind.layer != bytes(32)
            self._handover.give(member.pid, trees, scratch_bytes=scratch, foreign=foreign)
        if member.group is not None and request.limits != member.limits:
            member.group.limit(request.limits)
        member.limits, member.scratch_bytes = request.limits, request.scratch_bytes

    def mount_layer(self, pid: int, tree: int, target: str) -> None:
        """Mount a layer into its zygote's sandbox. Raises `OSError`."""
        if self._handover is not None:
            self._handover.give(pid, [(tree, target)])

    def watch_memory(self, member: Member, event: Callable[[Member, int], None]) -> None:
        """Call `event` with the descriptor when the member's group runs out of memory."""
        if member.group is None:
            return
        with contextlib.suppress(OSError):
            descriptor = member.group.oom_descriptor()
            if descriptor >= 0:
                member.memory_event = descriptor
                self.loop.add(descriptor, lambda: event(member, descriptor))

    def open_schedstat(self, member: Member) -> None:
        """Open /proc/<pid>/schedstat for the gateway, where there is one."""
        with contextlib.suppress(OSError):
            member.schedstat = os.open(f"/proc/{member.pid}/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def release(self, member: Member) -> None:
        """Give back what a member leased; nothing of it is left."""
        self.leases.give_back(member.uid)
        if member.network >= 0 and self.networks is not None:
            self.networks.give_back(member.network)
            member.network = -1

    def usage_bytes(self, member: Member) -> int:
        """Memory of a member now: its group's, else the resident pages of its first process."""
        if member.group is not None:
            return max(member.group.usage_bytes(), MEMBER_BYTES)
        if not sys.platform.startswith("linux"):
            return 0
        try:
            with open(f"/proc/{member.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * _PAGE
        except (OSError, ValueError, IndexError):
            return 0
