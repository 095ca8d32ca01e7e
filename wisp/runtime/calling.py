"""Calls that go out of the instance: CALL frames, and who waits for their REPLY."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from typing import Protocol

from wisp.calls import CallError, Reply, reply_of, request_head
from wisp.runtime import frames
from wisp.runtime.invocation import Invocation, current
from wisp.runtime.link import Link, LinkClosed


class Caller(Protocol):
    """What `wisp.call` and `wisp.acall` reach the platform with."""

    def call(self, name: str, head: bytes, body: bytes, *, timeout_s: float | None) -> Reply: ...

    async def acall(self, name: str, head: bytes, body: bytes, *, timeout_s: float | None) -> Reply: ...


_numbers = itertools.count(1)
_used: list[Caller] = []


def use(caller: Caller) -> None:
    """Make this the process's way out."""
    _used[:] = [caller]


def active() -> Caller:
    """Return the way out. Raises: `CallError` where there is none."""
    if not _used:
        raise CallError("unavailable", "wisp.call works inside a function that runs on a node")
    return _used[0]


def active_link() -> Link:
    """Return the link of an instance without an event loop."""
    caller = active()
    assert isinstance(caller, LinkCaller)
    return caller.link


def next_number() -> int:
    return frames.OWN_CALL | next(_numbers)


def running() -> Invocation:
    """Return the invocation that calls. Raises: `CallError` when it has ended, or none ever was."""
    invocation = current.get()
    if invocation is None or invocation.done:
        raise CallError("unavailable", "wisp.call needs a running invocation; this one has ended or never was")
    return invocation


def trace_of_caller(invocation: Invocation) -> bytes:
    """Return the header lines that a call inherits."""
    found = invocation.request.header(b"traceparent")
    return b"traceparent: " + found + b"\r\n" if found is not None else b""


def packet_of(number: int, name: str, head: bytes, *, body: bytes) -> bytes:
    """Return the CALL frame."""
    return frames.pack(frames.CALL, number, meta=frames.OPERATION_INVOKE, head=request_head(name, head), body=body)


def wait_s(invocation: Invocation, timeout_s: float | None) -> float:
    """Return how long to wait at most: never beyond the caller's own deadline."""
    left = max(0.0, (invocation.deadline_ns - time.monotonic_ns()) / 1e9)
    return left if timeout_s is None else min(left, timeout_s)


class LinkCaller:
    """Calls over a `Link`, from any thread."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._home = threading.get_ident()

    def call(self, name: str, head: bytes, body: bytes, *, timeout_s: float | None) -> Reply:
        """Send the call and wait for its answer. Raises: `CallError`."""
        link, number = self.link, next_number()
        got: deque[frames.Frame] = deque()
        link.replies[number] = got
        if not link.shared and threading.get_ident() != self._home:
            link.shared = True  # from now on the loop reads with the lock
        try:
            with link.changed:  # the last frame of the invocation can't come in between
                invocation = running()
                head = trace_of_caller(invocation) + head
                link.send(packet_of(number, name, head, body=body))
            limit_s = wait_s(invocation, timeout_s)
            if not link.wait(lambda: bool(got) and not got[-1].flags & frames.MORE, limit_s):
                raise CallError("timeout", f"{name} did not answer within {limit_s:.3f} s")
        except LinkClosed:
            raise CallError("unavailable", "the platform is gone") from None
        finally:
            del link.replies[number]
        return reply_of(list(got))

    async def acall(self, name: str, head: bytes, body: bytes, *, timeout_s: float | None) -> Reply:
        """Call from an event loop of the function's own."""
        import asyncio

        return await asyncio.to_thread(self.call, name, head, body, timeout_s=timeout_s)
