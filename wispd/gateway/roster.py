"""Roster: the instances of one version, who is idle, who is busy, and what they weigh."""

from __future__ import annotations

from typing import Final

from wispd.gateway.channel import Channel
from wispd.ports.demand import IdleInstance

CPU_TARGET: Final = 0.8  # of one CPU: a multiplexed instance above it gets no further event while others can take it
_CALM_NS: Final = 3_000_000_000  # idle instances are not asked for their CPU time after that
_LOOKED_AT: Final = 8  # busy instances considered for queueing ahead


class Roster:
    """Channels by instance number. Counts only; it sends nothing and ends nothing."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.channels: dict[int, Channel] = {}
        self.idle: list[Channel] = []  # concurrency 1: last used is used first, so the rest can end
        self.busy: dict[int, Channel] = {}
        self.starting = 0  # asked for, not yet started by the engine
        self.warming = 0  # started, not yet initialised
        self.ended_cpu_ns = 0  # of instances that ended, what the meter has not seen
        self.unkept = False  # no idle instance is kept: its budget is spent
        self.outdated: set[int] = set()  # were told a secret that has changed: they take nothing new
        self.stamp: tuple[int, ...] = ()  # versions of the secrets that the others were told

    def add(self, channel: Channel) -> None:
        """Take in a started instance, which still initialises."""
        self.starting = max(0, self.starting - 1)
        self.channels[channel.instance] = channel
        self.warming += 1

    def leave(self, channel: Channel) -> None:
        """Take an instance out of service."""
        channel.stopping = True
        self.busy.pop(channel.instance, None)
        if channel in self.idle:
            self.idle.remove(channel)

    def leaving(self, channel: Channel) -> bool:
        """Does the instance take no more events?"""
        return channel.stopping or channel.stuck or channel.instance in self.outdated

    def forget(self, channel: Channel, cpu_ns: int = 0) -> None:
        """The instance is gone; it used so much CPU time in all."""
        self.ended_cpu_ns += max(cpu_ns - channel.delay.metered_ns, 0)
        self.leave(channel)
        if not channel.ready:
            self.warming -= 1
        del self.channels[channel.instance]
        self.outdated.discard(channel.instance)
        channel.close()

    def cpu_used_ns(self, now_ns: int) -> int:
        """Return the CPU time used since this was last asked: of main threads while they live, of all at the end."""
        total, self.ended_cpu_ns = self.ended_cpu_ns, 0
        for channel in self.channels.values():
            if channel.inflight or now_ns - channel.idle_since_ns < _CALM_NS:
                total += channel.delay.newly_used_ns()
        return total

    def fewest_ahead(self) -> tuple[int, Channel | None]:
        """Return the fewest events on a busy instance that takes one more, and that instance; (-1, None): no such."""
        best: Channel | None = None
        fewest = -1
        for count, channel in enumerate(reversed(self.busy.values())):
            if count == _LOOKED_AT:
                break
            depth = len(channel.inflight)
            if (fewest < 0 or depth < fewest) and channel.open_to_queue and channel.instance not in self.outdated:
                fewest, best = depth, channel
        return fewest, best

    def slot(self) -> Channel | None:
        """Multiplexed: the fullest instance below its concurrency that is not hot, so that the rest can end."""
        best: Channel | None = None
        fullest = -1
        for channel in self.channels.values():
            if self.leaving(channel) or channel.trial:
                continue
            used = _occupied(channel)
            if used < self.concurrency and not (channel.hot and used) and used > fullest:
                fullest, best = used, channel
        return best

    def measure(self, seconds: float, now_ns: int) -> list[Channel]:
        """Look at multiplexed instances, `seconds` after the last look; return those that turned out to be stuck."""
        stuck = []
        for channel in self.channels.values() if self.concurrency > 1 else ():
            channel.measure(seconds, CPU_TARGET)
            if not channel.stuck and channel.abandoned.overdue(now_ns):
                channel.stuck = True  # what else it carries may end
                stuck.append(channel)
        return stuck

    def spare(self) -> int:
        """Free slots of instances that run or are on their way."""
        if self.concurrency > 1:
            taking = [c for c in self.channels.values() if not (self.leaving(c) or c.hot or c.trial)]
            return sum(self.concurrency - _occupied(c) for c in taking) + self.starting * self.concurrency
        spare = len(self.idle) + self.starting
        if self.warming:
            spare += sum(1 for c in self.channels.values() if not (c.ready or c.inflight or c.stopping or c.trial))
        return spare

    def idle_instances(self) -> list[IdleInstance]:
        """Return the idle ones, the longest idle first."""
        quiet = [c for c in self.channels.values() if c.ready and not (c.inflight or c.stopping or c.trial)]
        found = [IdleInstance(instance=c.instance, idle_since_ns=c.idle_since_ns, bytes=c.bytes) for c in quiet]
        return sorted(found, key=lambda one: one.idle_since_ns)

    def reserved_bytes(self, active_bytes: int) -> int:
        """Return what counts against the node's budget: active ones a reserve, idle ones their actual use."""
        total = self.starting * active_bytes
        for channel in self.channels.values():
            total += active_bytes if channel.inflight or not channel.ready else min(channel.bytes, active_bytes)
        return total


def _occupied(channel: Channel) -> int:
    """Return how many slots of a multiplexed instance are taken: a call that was given up still runs."""
    return len(channel.inflight) + len(channel.abandoned)
