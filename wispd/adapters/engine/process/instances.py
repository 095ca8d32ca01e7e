"""What the launcher keeps about a sandbox, from the fork to the last trace of it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from wispd.adapters.engine.process import descriptors, protocol
from wispd.adapters.engine.process.cgroup import Group, Limits

NOTHING = bytes(32)  # the digest that means "none"


class Cause(IntEnum):
    """Why an instance ended: the numbers of `wispd.ports.engine.ExitCause`, which the launcher may not import."""

    STOPPED = 1
    EXITED = 2
    SIGNALLED = 3
    MEMORY_EXHAUSTED = 4


class Kind(NamedTuple):
    """Members of one kind are interchangeable. Without a layer zygote `namespace` and `layer` are zeros."""

    runtime: int
    network: int
    namespace: bytes = NOTHING
    layer: bytes = NOTHING

    def plain(self) -> Kind:
        """The kind without a layer."""
        return Kind(self.runtime, self.network)


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A START, checked. `allow`: what the egress broker may connect to, as raw protocol entries."""

    ticket: int
    kind: Kind  # with the layer the gateway asked for, whoever serves it
    code: str
    limits: Limits
    scratch_bytes: int
    allow: tuple[bytes, ...]
    received_ns: int


@dataclass(slots=True)
class Member:
    """A sandbox: being forked (`pid` 0), idle in the pool (`start` None), or an instance."""

    number: int
    kind: Kind
    uid: int
    limits: Limits
    scratch_bytes: int
    zygote: int
    link: int = -1  # descriptors until the gateway has them
    steal: int = -1
    log: int = -1
    notifier: int = -1
    schedstat: int = -1
    network: int = -1  # the network namespace it was given; whoever reaps it gives it back
    pid: int = 0
    group: Group | None = None
    start: StartRequest | None = None
    assigned: bool = False
    pooled: bool = True
    stopped: bool = False
    out_of_memory: bool = False
    cpu_ns: int = 0
    memory_event: int = -1  # the descriptor that tells of exhausted memory while it is watched

    def close_descriptors(self) -> None:
        """Close what has not been handed to the gateway."""
        numbers = (self.link, self.steal, self.log, self.notifier, self.schedstat)
        descriptors.close_all(number for number in numbers if number >= 0)
        self.link = self.steal = self.log = self.notifier = self.schedstat = -1

    def kill(self, *, session: bool) -> None:
        """SIGKILL the first process, and its namespace with it; `session`: its process group instead."""
        if self.pid:
            try:
                if session:
                    os.killpg(self.pid, signal.SIGKILL)
                else:
                    os.kill(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass

    def exit_cause(self, status: int) -> tuple[Cause, int]:
        """What to report for a wait status. Memory first: the kill that follows it is only its consequence."""
        if self.out_of_memory or (self.group is not None and self.group.oom_killed()):
            return Cause.MEMORY_EXHAUSTED, signal.SIGKILL
        if self.stopped:
            return Cause.STOPPED, 0
        if os.WIFSIGNALED(status):
            return Cause.SIGNALLED, os.WTERMSIG(status)
        return Cause.EXITED, os.waitstatus_to_exitcode(status)


def parse_start(content: bytes, now_ns: int) -> StartRequest:
    """Check a START message completely.

    Raises: `ValueError` for anything a correct gateway does not send.
    """
    fixed = protocol.START_MESSAGE
    if len(content) < fixed.size:
        raise ValueError(f"START of {len(content)} bytes, shorter than {fixed.size}")
    fields = fixed.unpack_from(content)
    _, network, runtime, allowed, ticket, memory, scratch, cpu, pids, namespace, code, layer = fields
    size = protocol.ALLOW.size
    if allowed > protocol.ALLOW_MAX or len(content) != fixed.size + allowed * size:
        raise ValueError(f"START of {len(content)} bytes with {allowed} allow entries")
    if network >= len(protocol.NETWORKS) or not 0 < memory <= 1 << 44 or scratch > memory or not 0 < pids <= 32768:
        raise ValueError(f"START with network {network}, memory {memory}, scratch {scratch}, pids {pids}")
    kind = Kind(runtime, network, namespace if layer != NOTHING else NOTHING, layer)
    allow = tuple(content[fixed.size + i * size : fixed.size + (i + 1) * size] for i in range(allowed))
    limits = Limits(memory, cpu, pids)
    return StartRequest(ticket, kind, code.hex(), limits, max(scratch, 4096), allow, now_ns)


def parse_keep(content: bytes) -> tuple[Kind, int]:
    """Check a KEEP message; raises `ValueError`."""
    if len(content) != protocol.KEEP_MESSAGE.size:
        raise ValueError(f"KEEP of {len(content)} bytes")
    _, network, runtime, members, namespace, layer = protocol.KEEP_MESSAGE.unpack(content)
    if network >= len(protocol.NETWORKS):
        raise ValueError(f"KEEP with network {network}")
    return Kind(runtime, network, namespace if layer != NOTHING else NOTHING, layer), members
