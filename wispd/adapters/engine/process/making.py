"""Make members: a uid, a link, a log pipe, and an order to the right zygote."""

from __future__ import annotations

import os
from typing import Final

from wispd.adapters.engine.process import descriptors, runtimes
from wispd.adapters.engine.process.cgroup import Limits
from wispd.adapters.engine.process.instances import Kind, Member, StartRequest
from wispd.adapters.engine.process.orders import ZygoteSettings
from wispd.adapters.engine.process.runtimes import Runtime
from wispd.adapters.engine.process.world import World
from wispd.adapters.engine.process.zygotes import Zygote, ZygoteEvents, Zygotes

FORK_TIMEOUT_S: Final = 15.0  # a member that is not ready by then never will be
PACKAGES: Final = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))


class NoCapacity(Exception):
    """The launcher may not make one more member now."""


class Maker:
    """Starts the trusted zygote of a runtime at its first use and orders members from zygotes."""

    def __init__(self, world: World, events: ZygoteEvents, members: dict[int, Member]) -> None:
        settings = world.settings
        path = (PACKAGES,) if world.mode == "process" else ("/runtime",)
        inside = ZygoteSettings(world.mode, path, settings.uid_first, settings.uid_count)
        self.starter = Zygotes(world.loop, events, inside, packages=PACKAGES)
        self._world = world
        self._events = events
        self._members = members
        self._runtimes: dict[int, Runtime | None] = {}
        self._zygotes: dict[int, Zygote] = {}
        # Numbers of different launchers differ, so that a late message about a former instance meets nobody.
        self._next = int.from_bytes(os.urandom(4), "little") << 24

    def has_runtime(self, index: int) -> bool:
        """Is there an interpreter for this runtime number? The first question for one starts it once."""
        if index not in self._runtimes:
            known = 0 <= index < len(runtimes.NAMES)
            self._runtimes[index] = runtimes.find(runtimes.NAMES[index]) if known else None
        return self._runtimes[index] is not None

    def runtimes_text(self) -> str:
        return "this host has " + ", ".join(runtimes.available())

    def zygotes(self) -> list[Zygote]:
        return list(self._zygotes.values())

    def has_members_of(self, zygote: Zygote) -> bool:
        """Is there a member left that this zygote made?"""
        return any(member.zygote == zygote.number for member in self._members.values())

    def lost(self, zygote: Zygote) -> None:
        """A trusted zygote ended; the next use starts another."""
        self._zygotes = {index: other for index, other in self._zygotes.items() if other is not zygote}

    def trusted(self, index: int) -> Zygote:
        """The trusted zygote of a runtime, started if need be. Raises `OSError`."""
        zygote = self._zygotes.get(index)
        if zygote is None:
            runtime = self._runtimes[index] if self.has_runtime(index) else None
            if runtime is None:
                raise OSError(f"runtime {index} is not on this host")
            zygote = self._zygotes[index] = self.starter.start(runtime)
        return zygote

    def make(self, kind: Kind, zygote: Zygote | None, start: StartRequest | None) -> Member:
        """Order one member, for a start or for the pool. Raises: `NoCapacity`, `OSError`."""
        settings = self._world.settings
        if len(self._members) >= settings.instances_max:
            raise NoCapacity(f"{len(self._members)} sandboxes, limit {settings.instances_max}")
        uid = self._world.leases.take()
        if uid is None:
            raise NoCapacity("every uid of the range is in use")
        self._next += 1
        preset = Limits(settings.preset_memory_bytes, settings.preset_cpu_milli, settings.preset_pids)
        limits = start.limits if start else preset
        scratch = start.scratch_bytes if start else settings.preset_scratch_bytes
        member = Member(self._next, kind, uid, limits, scratch, 0, start=start, pooled=start is None)
        try:
            maker = zygote or self.trusted(kind.runtime)
            self._order(member, maker)
        except OSError:
            member.close_descriptors()
            self._world.release(member)
            raise
        self._members[member.number] = member
        self._world.loop.call_later(FORK_TIMEOUT_S, lambda: self._expire(member, maker))
        return member

    def _order(self, member: Member, zygote: Zygote) -> None:
        member.zygote = zygote.number
        gateways, instances = descriptors.packet_pair()
        member.link, member.steal = gateways.detach(), instances.detach()
        member.log, log_end = os.pipe()
        try:
            if member.uid:  # so that /dev/stdout can be opened inside
                os.fchown(log_end, member.uid, member.uid)
            os.set_blocking(member.link, False)
            given = [member.steal, log_end]
            if self._world.networks is not None and not zygote.foreign:
                member.network = self._world.networks.take()
                given.append(member.network)
            zygote.fork(member, given)
        finally:
            os.close(log_end)

    def _expire(self, member: Member, zygote: Zygote) -> None:
        """Give up on a fork that was ordered long ago and never reported. A zygote that does not answer is none."""
        if member.number in zygote.pending:
            self.starter.close(zygote)
