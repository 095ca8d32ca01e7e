"""Calls from a function: `wisp.call` arrives as a CALL frame on the instance's own link, and is dispatched like any.

The caller's namespace is that of its version, never what the frame says. The absolute deadline is inherited, and a
chain of calls ends at DEPTH_MAX (Source: AWS Lambda's recursion stop at 16).
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import Final, Protocol

from wisp.runtime import frames
from wisp.runtime.frames import Frame, FrameError
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.gateway.channel import Channel
from wispd.gateway.splitting import by_chance, split
from wispd.model.function import BUILD_FUNCTION, Published, Version
from wispd.model.invocation import Invocation, Trigger

DEPTH_MAX: Final = 16
NAME_MAX: Final = 97  # characters of `name:alias`
OPEN_MAX: Final = 64  # calls one instance may have open at once
QUEUED_MAX: Final = 8  # frames in the caller's queue above which whoever answers it waits


class Flow(Protocol):
    """The dispatcher, as far as calls need it."""

    def submit(self, invocation: Invocation) -> None: ...

    def pause(self, invocation: Invocation) -> None: ...

    def resume(self, invocation: Invocation) -> None: ...


class Resolver(Protocol):
    """The route table, as far as calls need it."""

    def addressed(self, namespace: str, text: str) -> tuple[Published, str] | None:
        """Return the function of `name` or `name:alias`, and the alias."""


class _Reply:
    """The sink of a call: packs the answer into REPLY and BODY frames for the caller's link.

    A caller that does not read its replies makes the answering instance wait, not the gateway's memory grow.
    """

    __slots__ = ("_channel", "_flow", "_number", "_open")

    def __init__(self, channel: Channel, number: int, open_: dict[int, int], *, flow: Flow) -> None:
        self._channel = channel
        self._number = number
        self._open = open_
        self._flow = flow
        open_[channel.instance] = open_.get(channel.instance, 0) + 1

    def head(self, invocation: Invocation, status: int, block: bytes, body: bytes, more: bool) -> None:
        flags = frames.MORE if more else 0
        self._send(frames.pack(frames.REPLY, self._number, flags=flags, meta=status, head=block, body=body))
        self._go_on(invocation, more)

    def chunk(self, invocation: Invocation, body: bytes | memoryview, more: bool) -> None:
        for packet in frames.pack_body(self._number, body, more=more):
            self._send(packet)
        self._go_on(invocation, more)

    def fault(self, invocation: Invocation, fault: Fault) -> None:
        refuse(self._channel, self._number, fault)
        self._close()

    def want_body(self, invocation: Invocation) -> None:
        """A call's body is complete when it comes."""

    def _send(self, packet: bytes) -> None:
        if not self._channel.stopping:
            self._channel.link.send(packet)

    def _go_on(self, invocation: Invocation, more: bool) -> None:
        if not more:
            self._close()
        elif not self._channel.stopping and self._channel.link.queued > QUEUED_MAX:
            self._flow.pause(invocation)
            self._channel.uploads.when_drained(lambda: self._flow.resume(invocation))

    def _close(self) -> None:
        left = self._open.get(self._channel.instance, 1) - 1
        if left:
            self._open[self._channel.instance] = left
        else:
            self._open.pop(self._channel.instance, None)


def refuse(channel: Channel, number: int, fault: Fault) -> None:
    """Answer a call with a fault: the head is `code LF message`."""
    if not channel.stopping:
        head = f"{fault.code}\n{fault.message}".encode()[: frames.MESSAGE_MAX]
        channel.link.send(frames.pack(frames.REPLY, number, flags=frames.ERROR, meta=fault.http_status, head=head))


class HostCalls:
    """Turns CALL frames into invocations."""

    def __init__(
        self,
        clock: Clock,
        resolver: Resolver,
        *,
        flow: Flow,
        ids: Callable[[], bytes],
        numbers: Callable[[], int],
        chance: Callable[[], float] | None = None,
    ) -> None:
        self._clock = clock
        self._chance = chance or SystemRandom().random
        self._resolver = resolver
        self._flow = flow
        self._ids = ids
        self._numbers = numbers
        self._open: dict[int, int] = {}

    def called(self, caller: Version, channel: Channel, frame: Frame) -> None:
        """Dispatch one call, or answer why not."""
        try:
            invocation = self._invocation(caller, channel, frame)
        except Fault as fault:
            refuse(channel, frame.call, fault)
            return
        self._flow.submit(invocation)

    def _invocation(self, caller: Version, channel: Channel, frame: Frame) -> Invocation:
        name, _, block = frame.head.partition(b"\n")
        if frame.meta != frames.OPERATION_INVOKE or len(block) > frames.BLOCK_MAX or not block.endswith(b"\r\n"):
            raise FrameError(f"call with operation {frame.meta} and a block of {len(block)} bytes")
        parent: Invocation = next(iter(channel.inflight.values()))
        depth = max(one.depth for one in channel.inflight.values()) + 1
        if depth > DEPTH_MAX:
            raise Fault("loop_detected", f"calls are nested {depth} deep, limit {DEPTH_MAX}", depth=depth)
        if self._open.get(channel.instance, 0) >= OPEN_MAX:
            raise Fault(
                "throttled", f"{OPEN_MAX} calls of this instance are open, limit {OPEN_MAX}", retry_after_s=1.0
            )
        if caller.function == BUILD_FUNCTION:
            raise Fault("forbidden", "a build calls no functions")
        version = self._version(caller.namespace, name.decode("ascii", "replace")[:NAME_MAX])
        sink = _Reply(channel, frame.call, self._open, flow=self._flow)
        return self._build(version, frame, block, parent=parent, sink=sink, depth=depth)

    def _version(self, namespace: str, text: str) -> Version:
        found = self._resolver.addressed(namespace, text)
        divided = split(*found) if found is not None else None
        if found is None or divided is None:
            raise Fault("not_found", f"function {text!r} is not in namespace {namespace}")
        if not found[0].enabled:
            raise Fault("disabled", f"function {text!r} is disabled")
        return divided.versions[0 if divided.single else by_chance(divided.shares, self._chance())]

    def _build(
        self, version: Version, frame: Frame, block: bytes, *, parent: Invocation, sink: _Reply, depth: int
    ) -> Invocation:
        now = self._clock.monotonic_ns()
        deadline = min(now + int(version.timeout_s * 1e9), parent.deadline_ns)
        received_us = self._clock.unix_ns() // 1000
        number, id_ = self._numbers(), self._ids()
        head = frames.INVOKE_HEAD.pack(deadline, received_us, id_, 0, depth) + block
        packet = frames.pack(frames.INVOKE, number, flags=frame.flags & frames.HTTP, head=head, body=frame.body)
        return Invocation(
            number,
            id_,
            version,
            sink,
            received_ns=now,
            received_us=received_us,
            deadline_ns=deadline,
            frame=packet,
            trigger=Trigger.CALL,
            bytes_in=len(frame.body),
            depth=depth,
        )
