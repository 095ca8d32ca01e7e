"""Pool: the instances of one version and the invocations that wait for them, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from wisp.runtime.frames import CANCEL, CANCEL_DEADLINE, FAILURE_SETTINGS, Frame, pack
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.gateway.balancing import DEPTH_MAX, QUEUE_AHEAD_NS, Choice, choose, is_overdue, smooth, warm_target
from wispd.gateway.channel import Channel
from wispd.gateway.opening import Ready, init_settings
from wispd.gateway.pool_owner import PoolOwner
from wispd.gateway.roster import Roster
from wispd.gateway.verdicts import grown, reserve, verdict
from wispd.model.function import MEMORY_START, Version
from wispd.model.invocation import Invocation, Status
from wispd.ports.demand import Demand, IdleInstance, Scaler
from wispd.ports.engine import ExitCause, Exited, Started

LINK_CLOSED_GRACE_S: Final = 1.0
CANCEL_GRACE_S: Final = 1.0  # for an instance to stop streaming to a client that went away
_RATE_WEIGHT: Final = 0.5

TrialDone = Callable[[Ready | None, Fault | None], None]  # what it said, or why it does not start


class Pool:
    """Instances and waiters of one version."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, version: Version, *, owner: PoolOwner, scaler: Scaler
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._owner = owner
        self._scaler = scaler
        self.version = version
        self.memory_bytes = version.memory_bytes or MEMORY_START
        self.concurrency = version.concurrency
        self.roster = Roster(version.concurrency)
        self.waiting: deque[Invocation] = deque()
        self.trials: deque[TrialDone] = deque()
        self.estimate_ns = 0
        self.measured = True
        self.warm = 1
        self.arrivals = 0
        self.rate_per_s = 0.0
        self.peak_bytes = 0
        self.retired, self.floor = False, 0  # floor: instances started ahead of the first call
        self.last_fault: Fault | None = None
        self.last_used_ns = clock.monotonic_ns()

    # ── events in ───────────────────────────────────────────────────────────────────────────────────────────

    def offer(self, invocation: Invocation) -> None:
        """Give the invocation a slot, or let it wait and wake the autoscaler."""
        self.arrivals += 1
        if self.waiting or not self._place(invocation):
            self.waiting.append(invocation)
            self._scaler.wake(self)

    def _place(self, invocation: Invocation) -> bool:
        if self.concurrency > 1:
            channel = self.roster.slot()
            if channel is None:
                return False
            self._give(channel, invocation)
            return True
        roster = self.roster
        ahead, behind = -1, None
        if not self.measured and invocation.rest is None and invocation.body_done:
            ahead, behind = roster.fewest_ahead()
        busy, idle = len(roster.busy), len(roster.idle)
        choice = choose(estimate_ns=self.estimate_ns, warm=self.warm, busy=busy, idle=idle, ahead=ahead)
        if choice is Choice.IDLE:
            self._give(roster.idle.pop(), invocation)
            return True
        if choice is Choice.AHEAD and behind is not None:
            self._give(behind, invocation)
            self._owner.watch_queue(behind)
            return True
        return False

    def _give(self, channel: Channel, invocation: Invocation) -> None:
        self.roster.busy[channel.instance] = channel
        channel.send(invocation)

    def _has_room(self, channel: Channel) -> bool:
        """May the instance be given the first of those who wait?"""
        depth = len(channel.inflight)
        if self.roster.leaving(channel) or depth + len(channel.abandoned) < self.concurrency:
            return not self.roster.leaving(channel)
        first = self.waiting[0]
        if self.concurrency > 1 or self.measured or first.rest is not None or not first.body_done:
            return False
        return depth * self.estimate_ns <= QUEUE_AHEAD_NS and depth < DEPTH_MAX and channel.open_to_queue

    def _pump(self, channel: Channel) -> None:
        """Fill the slots of an instance from those who wait."""
        while self.waiting and self._has_room(channel):
            self._give(channel, self.waiting.popleft())
        if len(channel.inflight) > self.concurrency:
            self._owner.watch_queue(channel)
        if channel.inflight or channel.stopping:
            return
        self.roster.busy.pop(channel.instance, None)
        if self.retired or self.roster.leaving(channel):
            self._stop(channel)
        elif self.concurrency == 1 and channel.ready:
            self.roster.idle.append(channel)

    def requeue(self, invocations: Iterable[Invocation]) -> None:
        """Place invocations that were taken back, before those who came later."""
        again = list(invocations)
        while again:
            if not self._place(again[0]):
                self.waiting.extendleft(reversed(again))
                self._scaler.wake(self)
                return
            again.pop(0)

    def relieve(self, channel: Channel) -> bool:
        """Take back what waits unread behind an overdue head; False: nothing waits there any more."""
        channel.link.poll()
        if len(channel.inflight) < 2 or channel.stopping:
            return False
        head = next(iter(channel.inflight.values()))
        now_ns = self._clock.monotonic_ns()
        begun_ns = max(head.sent_ns, channel.last_answer_ns)
        looked_ns, starved_ns = channel.starvation(now_ns)
        estimate_ns = self.estimate_ns
        running_ns = now_ns - begun_ns
        if is_overdue(running_ns=running_ns, estimate_ns=estimate_ns, looked_ns=looked_ns, starved_ns=starved_ns):
            channel.overdue = True
            self.requeue(channel.take_back())
        return len(channel.inflight) > 1

    # ── what the autoscaler sees and does ───────────────────────────────────────────────────────────────────

    def demand(self) -> Demand:
        """Return the present demand."""
        roster = self.roster
        return Demand(
            waiting=len(self.waiting),
            busy=len(roster.busy),
            ready=len(roster.channels) - roster.warming,
            starting=roster.starting + roster.warming,
            hot=sum(1 for c in roster.channels.values() if c.hot) if self.concurrency > 1 else 0,
            spare=roster.spare(),
            minimum=0 if self.retired or roster.unkept else max(self.version.instances_min, self.floor),
            maximum=self.version.instances_max,
        )

    def idle_instances(self) -> list[IdleInstance]:
        """Return the idle ones, the longest idle first."""
        return self.roster.idle_instances()

    def expected_bytes(self) -> int:
        return reserve(self.peak_bytes, self.memory_bytes)

    def reserved_bytes(self) -> int:
        """Return what the pool counts against the node's budget."""
        return self.roster.reserved_bytes(self.expected_bytes())

    def starting_added(self, count: int) -> None:
        self.roster.starting += count

    def adopt(self, started: Started, start_ns: int) -> None:
        """Take over an instance that the engine started, and give it what waits."""
        channel = Channel(self._loop, self._clock, self, started, concurrency=self.concurrency)
        channel.sandbox_ns = start_ns
        channel.memory_bytes = self.memory_bytes
        self.roster.add(channel)
        try:
            opened = self._owner.opened(self.version)
        except Fault as fault:
            self._stop(channel)
            self._unstartable(fault)
            return
        self.roster.stamp = opened.stamp
        told = init_settings(self.version, started, self.memory_bytes, describe=bool(self.trials))
        channel.begin(told, opened)
        if self.trials:
            channel.trial = self.trials.popleft()
            self._scaler.wake(self)
        else:
            self.roster.busy[started.instance] = channel
            self._pump(channel)

    def start_refused(self, fault: Fault) -> None:
        """The engine or the budget refused a start."""
        self.roster.starting = max(0, self.roster.starting - 1)
        self._unstartable(fault)

    def _unstartable(self, fault: Fault) -> None:
        self.last_fault = fault
        if self.trials:
            self.trials.popleft()(None, fault)
        elif not self.roster.starting and all(one.stopping for one in self.roster.channels.values()):
            self.fail_waiting(fault)

    def obstacle(self) -> Fault | None:
        """Return why no instance can be started now; None: nothing is known against it."""
        return self._owner.obstacle(self.version)

    def start_lost(self) -> None:
        self.roster.starting = max(0, self.roster.starting - 1)

    def sampled(self, instance: int, size: int) -> None:
        channel = self.roster.channels.get(instance)
        if channel is not None:
            channel.bytes = size
            self.peak_bytes = max(self.peak_bytes, size)

    def trials_waiting(self) -> int:
        return len(self.trials)

    @property
    def empty(self) -> bool:
        """No instance, nobody waiting, nothing on its way."""
        return not (self.roster.channels or self.waiting or self.roster.starting or self.trials)

    def fail_waiting(self, fault: Fault) -> None:
        """Nobody can serve those who wait."""
        while self.waiting:
            self._owner.fail(self.waiting.popleft(), Status.ERROR, fault)

    # ── what channels tell ──────────────────────────────────────────────────────────────────────────────────

    def became_ready(self, channel: Channel, ready: Ready) -> None:
        self.roster.warming -= 1
        self.last_fault = None
        self._scaler.succeeded(self)
        if channel.trial is not None:
            self._end_trial(channel, ready, None)
            return
        self._owner.cold_started(self, channel)
        if not channel.inflight:
            self._pump(channel)

    def init_failed(self, channel: Channel, fault: Fault) -> None:
        """The code does not initialise. Who was given to this instance fails at once, the rest wait for the next."""
        self.last_fault = fault
        self._stop(channel)
        if channel.trial is not None:
            self._end_trial(channel, None, fault)
            return
        for invocation in list(channel.inflight.values()):
            channel.give_up(invocation, Status.ERROR)
            self._owner.fail(invocation, Status.ERROR, fault)
        if fault.facts.get("failure") != FAILURE_SETTINGS:
            self._scaler.failed(self)

    def finished(self, channel: Channel, invocation: Invocation) -> None:
        # An answer may lie in the socket while the gateway serves others: that wait is not the function's run time.
        # A function that lies here harms only the placing of its own events.
        said_ns = invocation.said_ns or invocation.billed_ns
        self.estimate_ns = smooth(self.estimate_ns, min(said_ns, invocation.billed_ns))
        self.measured = self.estimate_ns > QUEUE_AHEAD_NS
        if invocation.peak_bytes > channel.bytes:
            channel.bytes = min(invocation.peak_bytes, self.memory_bytes)
        self._owner.settled(invocation)
        if len(channel.inflight) < self.concurrency:
            self._pump(channel)

    def freed(self, channel: Channel) -> None:
        self._pump(channel)

    def hostile(self, channel: Channel, reason: str) -> None:
        fault = Fault("invalid_answer", f"the instance broke the protocol: {reason}")
        self._lose(channel, Status.INSTANCE_LOST, fault)

    def called(self, channel: Channel, frame: Frame) -> None:
        if len(channel.inflight) > 1 and self.concurrency == 1:
            self.requeue(channel.take_back())  # those behind a function that waits itself need not wait for it
        self._owner.called(self, channel, frame)

    def logged(self, channel: Channel, invocation: Invocation | None, text: bytes) -> None:
        self._owner.logged(self, channel, invocation, text)

    def link_closed(self, channel: Channel) -> None:
        """The instance is dying. What it never began goes to others; what it began waits for the cause (`ended`)."""
        again = channel.take_back()
        self.roster.leave(channel)
        # The engine knows why only after the process is reaped; one that closed its link and lives on is ended then.
        self._loop.call_later(LINK_CLOSED_GRACE_S, self._scaler.stop, channel.instance)
        self.requeue(again)

    # ── endings ─────────────────────────────────────────────────────────────────────────────────────────────

    def ended(self, exited: Exited) -> None:
        """The engine says that an instance is gone, and why."""
        channel = self.roster.channels.get(exited.instance)
        if channel is None:
            return
        self.peak_bytes = max(self.peak_bytes, exited.peak_bytes)
        channel.link.poll()  # answers that were sent before the end still count
        again = channel.take_back()
        status, fault = self._verdict(exited, channel)
        if not channel.ready and not channel.stopping:
            self.last_fault = fault
            self._scaler.failed(self)
        self._lose(channel, status, fault)
        self.roster.forget(channel, exited.cpu_ns)
        self.requeue(again)
        if self.waiting:
            self._scaler.wake(self)

    def _verdict(self, exited: Exited, channel: Channel) -> tuple[Status, Fault]:
        size = channel.memory_bytes
        if exited.cause is ExitCause.MEMORY_EXHAUSTED:  # several may run out at the same size: it grows once
            self.memory_bytes = max(self.memory_bytes, grown(size, automatic=self.version.memory_bytes == 0))
        return verdict(exited, ready=channel.ready, memory_bytes=size, grown_bytes=self.memory_bytes)

    def _lose(self, channel: Channel, status: Status, fault: Fault) -> None:
        """Everything the instance began is lost."""
        self._stop(channel)
        if channel.trial is not None:
            self._end_trial(channel, None, fault)
        for invocation in list(channel.inflight.values()):
            channel.give_up(invocation, status)
            self._owner.fail(invocation, status, fault)

    def _stop(self, channel: Channel) -> None:
        """Give the instance no more events and end it."""
        if not channel.stopping:
            self.roster.leave(channel)
            self._scaler.stop(channel.instance)

    def _end_trial(self, channel: Channel, ready: Ready | None, fault: Fault | None) -> None:
        """Tell the outcome of a trial, once, and end its instance."""
        trial, channel.trial = channel.trial, None
        self._stop(channel)
        trial(ready, fault)

    def end(self, instance: int) -> None:
        """End one instance on behalf of the autoscaler (idle, evicted)."""
        channel = self.roster.channels.get(instance)
        if channel is not None:
            self._stop(channel)

    def overdue(self, invocation: Invocation) -> None:
        """The deadline of a running invocation has passed."""
        channel: Channel = invocation.instance
        if self.concurrency > 1 and channel.ready:
            channel.give_up(invocation, Status.TIMEOUT)
            channel.cancel(invocation, CANCEL_DEADLINE)
            self._pump(channel)
        elif channel.ready:
            again = channel.take_back()
            channel.give_up(invocation, Status.TIMEOUT)
            self._stop(channel)
            self.requeue(again)
        else:
            channel.give_up(invocation, Status.TIMEOUT)  # initialisation goes on: the next call finds it done

    def cancel(self, invocation: Invocation, reason: int) -> bool:
        """The client went away. True: the invocation is over; False: it runs on, unheard, until it ends by itself."""
        channel: Channel | None = invocation.instance
        if channel is None:
            if invocation in self.waiting:
                self.waiting.remove(invocation)
            return True
        if self.concurrency > 1:
            channel.give_up(invocation, Status.CANCELLED)
            channel.cancel(invocation, reason)
            self._pump(channel)
            return True
        if next(iter(channel.inflight)) != invocation.number:
            again = channel.take_back()
            self.requeue(one for one in again if one is not invocation)
            if invocation in again:
                return True
        channel.link.resume()
        channel.link.send(pack(CANCEL, invocation.number, meta=reason))
        if invocation.started_answer:
            self._loop.call_later(CANCEL_GRACE_S, self._end_stream, channel, invocation.number)
        return False

    def _end_stream(self, channel: Channel, number: int) -> None:
        """A stream that nobody hears and that does not stop is ended with its instance."""
        if number in channel.inflight:
            self._stop(channel)

    def measure(self, seconds: float) -> None:
        """Fold the arrivals of the last `seconds` into the rate and set the warm target."""
        self.rate_per_s += (self.arrivals / seconds - self.rate_per_s) * _RATE_WEIGHT
        if self.arrivals:
            self.last_used_ns = self._clock.monotonic_ns()
        self.arrivals = 0
        self.warm = warm_target(self.rate_per_s, self.estimate_ns)
        for channel in self.roster.measure(seconds, self._clock.monotonic_ns()):
            self._pump(channel)
