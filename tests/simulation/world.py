"""A whole gateway core on virtual time with instances that run by themselves: hours of traffic in seconds.

The dispatcher, the pools, the autoscaler and their decisions are the real ones; only processes are played.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from gateway_harness import Core, Ear, Player

from wispd.model.function import Version
from wispd.model.invocation import Invocation
from wispd.ports.engine import ExitCause

START_S = 0.002
INIT_S = 0.003


class World(Core):
    """Instances start after START_S, initialise in INIT_S and run each event for `run_s()` seconds, one at a time."""

    def __init__(
        self, run_s: Callable[[], float], *, seed: int = 1, crash_share: float = 0.0, **settings: Any
    ) -> None:
        super().__init__(**{"budget_bytes": 64 << 30, **settings})
        self.random = random.Random(seed)
        self._run_s = run_s
        self._crash_share = crash_share
        self._working: set[int] = set()
        self._initialised: set[int] = set()
        self.most_instances = 0
        self.instance_seconds = 0.0
        self.ears: list[tuple[Invocation, Ear]] = []
        self.runs: dict[int, int] = {}
        engine = self.engine
        ask, stop = engine.start, engine.stop

        def start(ticket: int, spec: Any) -> None:
            ask(ticket, spec)
            self.loop.call_later(START_S, self._grant)

        def end(instance: int) -> None:
            stop(instance)
            if instance in engine.players:
                self.loop.call_later(0.001, self._bury, instance)

        engine.start = start  # type: ignore[method-assign]
        engine.stop = end  # type: ignore[method-assign]
        self._tick()

    def _tick(self) -> None:
        self.scaler.sweep()
        self.dispatcher.check_initialisation()
        self.dispatcher.forget_unused()
        self.instance_seconds += len(self.engine.players) * 0.025
        self.loop.call_later(0.025, self._tick)

    def _grant(self) -> None:
        player = self.engine.grant()
        self.most_instances = max(self.most_instances, len(self.engine.players))
        self.loop.call_later(INIT_S, self._ready, player)

    def _ready(self, player: Player) -> None:
        if player.open:
            player.ready()
            self._initialised.add(player.number)
            self.loop.poll()
            self._work(player)

    def _work(self, player: Player) -> None:
        """Take the next event, if there is one."""
        if not player.open or player.number in self._working or player.number not in self._initialised:
            return
        frame = player.read_invoke()
        if frame is None:
            return
        self._working.add(player.number)
        self.runs[frame.call] = self.runs.get(frame.call, 0) + 1
        crash = self.random.random() < self._crash_share
        self.loop.call_later(self._run_s(), self._crash if crash else self._answer, player, frame.call)

    def _answer(self, player: Player, call: int) -> None:
        self._working.discard(player.number)
        if player.open:
            player.answer(call)
            self.loop.poll()
            self._work(player)

    def _crash(self, player: Player, call: int) -> None:
        self._working.discard(player.number)
        self._bury(player.number, ExitCause.SIGNALLED)

    def _bury(self, instance: int, cause: ExitCause = ExitCause.STOPPED) -> None:
        if instance in self.engine.players:
            self.engine.bury(instance, cause)
            self.loop.poll()
            self._wake_all()

    def _wake_all(self) -> None:
        for player in list(self.engine.players.values()):
            self._work(player)

    def arrive(self, target: Version) -> None:
        """One event comes in."""
        self.ears.append(self.call(target))
        self.loop.poll()
        self._wake_all()

    def play(self, target: Version, arrivals: Iterable[float], *, then_s: float = 0.0) -> None:
        """Let events come at these times (seconds from now, ascending), and then let `then_s` pass."""
        begin = self.clock.monotonic_ns()
        for at in arrivals:
            self.loop.advance(max(0.0, at - (self.clock.monotonic_ns() - begin) / 1e9))
            self.arrive(target)
        self.loop.advance(then_s)

    def waits_ms(self) -> list[float]:
        """Return how long each answered event waited for its instance to begin, sorted."""
        return sorted((one.sent_ns - one.received_ns) / 1e6 for one, ear in self.ears if ear.heads)


def poisson(source: random.Random, rate_per_s: float, seconds: float) -> list[float]:
    """Return arrival times of a Poisson process."""
    times, at = [], 0.0
    while (at := at + source.expovariate(rate_per_s)) < seconds:
        times.append(at)
    return times
