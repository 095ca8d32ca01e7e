"""What the gateway asks of the thing that starts sandboxed instances."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from msgspec import Struct

from wispd.base.errors import Fault
from wispd.model.function import Network


class StartSpec(Struct, frozen=True, kw_only=True):
    """One instance to start. Digests are 64 hex characters; sizes bytes."""

    namespace: str
    code: str
    layer: str = ""
    runtime: str = "python3"
    network: Network = "egress"
    network_allow: tuple[str, ...] = ()  # "address:port", "address/prefix:port", port "*" allowed
    memory_bytes: int
    scratch_bytes: int
    cpu: float = 1.0
    pids_max: int = 128


class Started(Struct, frozen=True, kw_only=True):
    """A running instance. The receiver owns the descriptors and must close them.

    `link_fd` is the gateway's end of the SEQPACKET link, `steal_fd` a duplicate of the instance's end (frames not
    yet read can be taken back with it), `log_fd` the reading end of the pipe behind descriptors 1 and 2,
    `schedstat_fd` an open /proc/<pid>/schedstat (-1 where there is none).
    """

    instance: int
    link_fd: int
    steal_fd: int
    log_fd: int
    schedstat_fd: int
    code_path: str  # where the code is, seen from inside
    layer_path: str  # "" without a layer
    pooled: bool  # came from the pool; False: forked for this start


class ExitCause(IntEnum):
    """Why an instance ended."""

    STOPPED = 1  # the gateway asked
    EXITED = 2  # by itself; status is the exit code
    SIGNALLED = 3  # by a signal; status is its number
    MEMORY_EXHAUSTED = 4
    LAUNCHER_LOST = 5


class Exited(Struct, frozen=True, kw_only=True):
    """An instance and everything in it is gone."""

    instance: int
    cause: ExitCause
    status: int
    cpu_ns: int  # cgroup truth, 0 where there is no cgroup
    peak_bytes: int


class EngineEvents(Protocol):
    """What the engine tells the gateway, on the gateway's event loop."""

    def started(self, ticket: int, started: Started) -> None: ...

    def refused(self, ticket: int, fault: Fault) -> None: ...

    def exited(self, exited: Exited) -> None: ...

    def sampled(self, usage: Sequence[tuple[int, int]]) -> None:
        """(instance, resident bytes) of every running instance, the answer to `Engine.sample`."""

    def lost(self) -> None:
        """The launcher died: every instance is gone. Starts are possible again after `restored`."""

    def restored(self) -> None: ...


class Engine(Protocol):
    """Starts and stops instances. No method blocks; answers come as `EngineEvents`."""

    def start(self, ticket: int, spec: StartSpec) -> None:
        """Start one instance; `started` or `refused` follows with the same ticket."""

    def stop(self, instance: int) -> None:
        """Kill the instance and everything in it; `exited` follows. Idempotent."""

    def sample(self) -> None:
        """Ask for the memory use of all running instances."""

    def keep(self, runtime: str, *, layer: str, namespace: str, network: Network, members: int) -> None:
        """Keep this many pool members of a kind ready; 0 lets the kind go."""
