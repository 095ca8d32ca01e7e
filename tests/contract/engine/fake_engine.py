"""An engine without sandboxes: each instance is a thread that speaks the wire format. Passes the same contract."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading

from wisp.runtime import frames
from wispd.base.errors import Fault
from wispd.model.function import Network
from wispd.ports.engine import EngineEvents, ExitCause, Exited, Started, StartSpec


class FakeEngine:
    """Implements `Engine`. Knows the code digests it was told; instances answer every INVOKE with `hello`."""

    def __init__(self, events: EngineEvents, loop: asyncio.AbstractEventLoop) -> None:
        self._events = events
        self._loop = loop
        self._ends: dict[int, socket.socket] = {}
        self._stopped: set[int] = set()
        self._count = 0
        self._there = True
        self.known: set[str] = set()

    def start(self, ticket: int, spec: StartSpec) -> None:
        if not self._there or spec.code not in self.known:
            fault = Fault("unavailable", "no such code", reason="code_missing")
            self._loop.call_soon(self._events.refused, ticket, fault)
            return
        self._count += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reading, writing = os.pipe()
        ours.setblocking(False)
        os.set_blocking(reading, False)
        self._ends[self._count] = theirs
        started = Started(
            instance=self._count,
            link_fd=ours.detach(),
            steal_fd=os.dup(theirs.fileno()),
            log_fd=reading,
            schedstat_fd=-1,
            code_path="/app",
            layer_path="/layer" if spec.layer else "",
            pooled=False,
        )
        threading.Thread(target=self._live, args=(self._count, theirs, writing), daemon=True).start()
        self._loop.call_soon(self._events.started, ticket, started)

    def _live(self, instance: int, end: socket.socket, log: int) -> None:
        with end, contextlib.suppress(OSError):
            end.send(frames.pack(frames.HELLO, frames.FEATURE_STREAMING, meta=frames.VERSION))
            while packet := end.recv(frames.PACKET_MAX):
                frame = frames.parse(packet)
                if frame.type == frames.INVOKE:
                    head = frames.OUTCOME_HEAD.pack(0, 0, 0, 0, 0)
                    end.send(frames.pack(frames.OUTCOME, frame.call, meta=200, head=head, body=b"hello"))
        os.close(log)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ended, instance)

    def _ended(self, instance: int) -> None:
        if self._ends.pop(instance, None) is not None:
            cause = ExitCause.STOPPED if instance in self._stopped else ExitCause.EXITED
            self._events.exited(Exited(instance=instance, cause=cause, status=0, cpu_ns=1, peak_bytes=1))

    def stop(self, instance: int) -> None:
        end = self._ends.get(instance)
        if end is not None:
            self._stopped.add(instance)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def sample(self) -> None:
        self._loop.call_soon(self._events.sampled, [(instance, 1) for instance in self._ends])

    def keep(self, runtime: str, *, layer: str, namespace: str, network: Network, members: int) -> None:
        return None

    def die(self) -> None:
        """What a launcher's death looks like."""
        self._there = False
        for end in list(self._ends.values()):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()
        self._events.lost()

    def come_back(self) -> None:
        self._there = True
        self._events.restored()
