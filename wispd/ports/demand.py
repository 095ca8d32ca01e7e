"""What the gateway's pools show the autoscaler, and what it may ask of them."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from wispd.base.errors import Fault
from wispd.model.function import Version
from wispd.ports.engine import Exited, Started


class Demand(Struct, frozen=True, kw_only=True):
    """One version's demand at one moment: all a scaling decision needs."""

    waiting: int  # invocations without a slot
    busy: int  # instances with at least one event
    ready: int  # initialised instances, busy or idle
    starting: int  # asked for, not yet initialised
    hot: int  # instances above the CPU target
    spare: int  # free slots of ready and starting instances
    minimum: int
    maximum: int


class IdleInstance(Struct, frozen=True, kw_only=True):
    """An instance that may be ended."""

    instance: int
    idle_since_ns: int
    bytes: int


class ScaledPool(Protocol):
    """A pool, seen from the autoscaler."""

    version: Version
    retired: bool  # its version is no longer live: no idle instance is kept
    memory_bytes: int  # size of a new instance (grows where memory = "auto")

    def demand(self) -> Demand: ...

    def idle_instances(self) -> list[IdleInstance]:
        """Idle instances, the longest idle first."""

    def reserved_bytes(self) -> int:
        """What the pool's instances count against the node's memory budget."""

    def expected_bytes(self) -> int:
        """What one more instance would reserve."""

    def adopt(self, started: Started, start_ns: int) -> None:
        """Take a started instance over."""

    def start_refused(self, fault: Fault) -> None:
        """A start was refused; waiting invocations fail with `fault` if nothing else can serve them."""

    def obstacle(self) -> Fault | None:
        """Return why no instance can be started now (a secret that is not set); None: nothing is known against it."""

    def start_lost(self) -> None:
        """A start that was asked for will not come; those who wait go on waiting."""

    def ended(self, exited: Exited) -> None:
        """An instance is gone."""

    def end(self, instance: int) -> None:
        """End one instance (idle too long, evicted)."""

    def sampled(self, instance: int, size: int) -> None:
        """An instance uses `size` bytes now."""

    def starting_added(self, count: int) -> None:
        """So many starts were asked for."""

    def measure(self, seconds: float) -> None:
        """`seconds` have passed since the last measurement: fold the arrivals into the rate."""

    def trials_waiting(self) -> int:
        """Trials of this version that no instance has taken yet."""


class Scaler(Protocol):
    """What a pool asks of the autoscaler."""

    def wake(self, pool: ScaledPool) -> None:
        """An invocation found no slot: decide now."""

    def stop(self, instance: int) -> None:
        """End an instance now (overdue, hostile, retired)."""

    def failed(self, pool: ScaledPool) -> None:
        """An instance died before it was initialised: back off."""

    def succeeded(self, pool: ScaledPool) -> None:
        """An instance initialised: no back-off any more."""
