"""A guard on a clock that moves only when told, and calls that cost what a test says."""

from __future__ import annotations

import itertools

from wispd.base.errors import Fault
from wispd.metering.guard import History, SpendGuard
from wispd.metering.rating import PriceList, Quantities
from wispd.model.budget import Budget, Quota
from wispd.model.function import Version
from wispd.model.invocation import Invocation, Status

DAY_US = 86_400_000_000
MIB = 1 << 20
# A MiB-millisecond costs one micro-unit and nothing else costs anything, so that costs are easy to read.
PRICES = PriceList(call_pico=0, gib_s_pico=1024 * 1000 * 1_000_000, warm_gib_s_pico=0, egress_gib_pico=0)


class MovingClock:
    """A wall clock that may jump, and a monotonic one that does not."""

    def __init__(self, unix_us: int) -> None:
        self.unix_us = unix_us
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def unix_ns(self) -> int:
        return self.unix_us * 1000

    def advance(self, seconds: float) -> None:
        self.unix_us += int(seconds * 1e6)
        self.now_ns += int(seconds * 1e9)


def version(function: str = "f", *, namespace: str = "n", timeout_s: float = 1.0) -> Version:
    return Version(
        id=f"ver_{namespace}_{function}",
        namespace=namespace,
        function=function,
        number=1,
        code="",
        handler="m:f",
        memory_bytes=MIB,
        timeout_s=timeout_s,
    )


class Spender:
    """A guard, and calls through it. The most a call can cost is 2,000 micro-units (a second, and the grace)."""

    MOST = 2000

    def __init__(self, unix_us: int, *budgets: Budget, quotas: tuple[Quota, ...] = (), known: bool = True) -> None:
        self.clock = MovingClock(unix_us)
        self.lines: list[str] = []
        self.position = (0, 0)
        self.guard = SpendGuard(self.clock, PRICES, position=lambda: self.position, tell=self.lines.append)
        self._numbers = itertools.count(1)
        self.guard.configure(budgets, quotas, starting=True)
        if known:
            self.guard.fill(History(self.guard.since_day(), (0, 0), {}))

    def enter(self, function: str = "f") -> Invocation | Fault:
        """Let one call in, or return the refusal."""
        one = Invocation(
            next(self._numbers),
            bytes(16),
            version(function),
            None,  # type: ignore[arg-type]  # nobody answers
            received_ns=self.clock.monotonic_ns(),
            received_us=self.clock.unix_us,
            deadline_ns=0,
            frame=b"",
        )
        refusal = self.guard.admit(one, MIB)
        return one if refusal is None else refusal

    def leave(self, one: Invocation, cost: int) -> None:
        """End a call that ran so many milliseconds, which is what it costs."""
        one.status = Status.OK
        one.billed_ns = one.run_ns = cost * 1_000_000
        one.finished_ns = one.received_ns
        self.position = (0, self.position[1] + 100)
        self.guard.settle(one)

    def call(self, cost: int, function: str = "f") -> Fault | None:
        """Run one call from beginning to end."""
        one = self.enter(function)
        if isinstance(one, Fault):
            return one
        self.leave(one, cost)
        return None

    def spent(self, index: int = 0) -> int:
        return self.guard.states()[index].spent_micro

    def history(self, used: dict[tuple[str, str], dict[int, int]], reached: tuple[int, int] = (0, 0)) -> History:
        """Return a history of so many micro-units by function and day."""
        quantities = {key: {day: Quantities(mib_ms=cost) for day, cost in days.items()} for key, days in used.items()}
        return History(self.guard.since_day(), reached, quantities)


def budget(limit: int, *, function: str = "f", **fields: object) -> Budget:
    return Budget(namespace="n", function=function, limit_micro=limit, **fields)  # type: ignore[arg-type]
