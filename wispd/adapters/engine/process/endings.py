"""How members end: killed whole, reaped, their group empty and removed, their uid free; only then is the end told."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from wispd.adapters.engine.process.instances import Member
from wispd.adapters.engine.process.world import World
from wispd.adapters.engine.process.zygotes import Zygote

_GROUP_TRIES: Final = 12  # 1, 2, 4 … ms: four seconds in all until an undying group is given up
_MEMORY_TRIES: Final = 20
_MEMORY_PAUSE_S: Final = 0.005

Ended = Callable[[Member, int, int, int], None]  # member, cause, status, peak bytes


class Endings:
    """Ends members and reports when every trace of one is gone."""

    def __init__(self, world: World, members: dict[int, Member], *, ended: Ended) -> None:
        self._world = world
        self._members = members
        self._ended = ended
        self._by_pid: dict[int, Member] = {}
        self._others: dict[int, Callable[[], None]] = {}

    def watch(self, member: Member) -> None:
        """The member has a process now."""
        self._by_pid[member.pid] = member

    def watch_process(self, pid: int, ended: Callable[[], None]) -> None:
        """Call `ended` when this child, which is no member, was reaped."""
        self._others[pid] = ended

    def stop(self, member: Member) -> None:
        """Kill a member and all in it; `ended` follows. One still being forked is killed as soon as it has a pid."""
        member.stopped = True
        member.kill(session=self._world.sessions)

    def abandon(self, member: Member) -> None:
        """Let go of a member that could not be made."""
        if member.pid:
            self.stop(member)
            return
        member.close_descriptors()
        if self._members.pop(member.number, None) is not None:
            # Whatever the fork left is killed by its own failure; its uid rests until that is surely over.
            self._world.loop.call_later(2.0, lambda: self._world.release(member))

    def memory_event(self, member: Member, descriptor: int, tries: int = _MEMORY_TRIES) -> None:
        """Memory ran out in a member's group, or in a group above it: kill the member whole if it was its own."""
        with contextlib.suppress(OSError):
            os.eventfd_read(descriptor)
        if member.number not in self._members or member.group is None or member.out_of_memory:
            return
        if member.group.oom_killed():
            member.out_of_memory = True
            member.kill(session=self._world.sessions)
        elif tries:
            # The kernel tells before it kills, and it tells the children when their parent ran out.
            later = lambda: self.memory_event(member, descriptor, tries - 1)  # noqa: E731
            self._world.loop.call_later(_MEMORY_PAUSE_S, later)

    def reap(self, zygotes: Sequence[Zygote]) -> None:
        """Collect every ended child; strays of instances (adopted, without a pid namespace) end here too."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                break
            member = self._by_pid.pop(pid, None)
            if member is not None:
                self._finish(member, status, int((usage.ru_utime + usage.ru_stime) * 1e9))
            elif pid in self._others:
                self._others.pop(pid)()
        if self._world.sessions:
            self._kill_strays({zygote.pid for zygote in zygotes})

    def _finish(self, member: Member, status: int, cpu_ns: int) -> None:
        member.close_descriptors()
        cause, code = member.exit_cause(status)
        peak_bytes = 0
        member.cpu_ns = cpu_ns
        if member.group is not None:
            peak_bytes = member.group.peak_bytes()
            member.cpu_ns = member.group.cpu_ns() or cpu_ns
        if member.memory_event >= 0:
            self._world.loop.remove(member.memory_event)
        if self._world.sessions:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(member.pid, signal.SIGKILL)
        self._vanish(member, (int(cause), code, peak_bytes), 0)

    def _vanish(self, member: Member, told: tuple[int, int, int], tries: int) -> None:
        """Remove the group, then tell. The kernel holds a group for a moment after its last process."""
        gone = member.group is None or member.group.remove()
        if not gone and tries < _GROUP_TRIES:
            later = lambda: self._vanish(member, told, tries + 1)  # noqa: E731
            self._world.loop.call_later(0.001 * 2**tries, later)
            return
        if gone:
            self._world.release(member)
        else:
            sys.stderr.write(
                f"launcher: the control group of {member.number} does not go; uid {member.uid} is kept\n"
            )
        self._members.pop(member.number, None)
        self._ended(member, *told)

    def _kill_strays(self, known: set[int]) -> None:
        """Kill children we never made: orphans of instances come to us as their subreaper."""
        if any(member.pid == 0 for member in self._members.values()):
            return  # a fresh fork has not told its pid yet; the next end looks again
        known |= self._by_pid.keys() | self._others.keys()
        for pid in _children():
            if pid not in known:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except (OSError, ValueError):
        return []
