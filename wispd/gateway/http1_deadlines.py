"""When a connection has had enough time. Pure: marks and counters in, a verdict out.

There is no timer per connection: a sweep looks at all of them about twice a second, so every deadline is that much
late. A `Progress` begins when the sweep first sees what it measures.
"""

from __future__ import annotations

from enum import IntEnum

from wispd.gateway.http1_limits import Limits

_NS = 1_000_000_000


class Phase(IntEnum):
    """Where a connection is in its request."""

    IDLE = 0  # between requests
    HEAD = 1  # a part of a head has arrived
    BUSY = 2  # a head is there, its answer is not complete
    LINGER = 3  # answered; what still comes in is dropped, so that the client sees the answer
    CLOSING = 4  # the transport is told to close once the answer is written


class Verdict(IntEnum):
    """What the sweep does with a connection."""

    STAY = 0
    CLOSE = 1  # quietly
    TIMEOUT = 2  # answer 408 and close
    ABORT = 3  # now, without flushing


class Progress:
    """Bytes moved since a moment, against a minimum rate."""

    __slots__ = ("since_ns", "start")

    def __init__(self) -> None:
        self.since_ns = 0  # 0: not measuring
        self.start = 0

    def stop(self) -> None:
        """What was measured is over."""
        self.since_ns = 0

    def late(self, now_ns: int, moved: int, *, grace_s: float, rate_per_s: int) -> bool:
        """Has `moved` (a counter) grown by less than the rate since the first call, after the grace?"""
        if not self.since_ns:
            self.since_ns = now_ns
            self.start = moved
            return False
        allowed_s = grace_s + (moved - self.start) / rate_per_s if rate_per_s else grace_s
        return now_ns - self.since_ns > allowed_s * _NS


def waiting(phase: Phase, since_ns: int, now_ns: int, *, limits: Limits, fresh: bool) -> Verdict:
    """Decide on a connection that waits for a request, or for the client's last word."""
    waited_s = (now_ns - since_ns) / _NS
    if phase is Phase.HEAD:
        return Verdict.TIMEOUT if waited_s > limits.head_s else Verdict.STAY
    if phase is Phase.IDLE:
        return Verdict.CLOSE if waited_s > (limits.head_s if fresh else limits.idle_s) else Verdict.STAY
    if phase is Phase.LINGER:
        return Verdict.CLOSE if waited_s > limits.linger_s else Verdict.STAY
    return Verdict.ABORT if waited_s > limits.linger_s else Verdict.STAY


class Beat(IntEnum):
    """What a WebSocket's silence asks for."""

    NONE = 0
    PING = 1
    LOST = 2  # the client did not answer a ping
    IDLE = 3  # nobody has said anything for too long


class Keepalive:
    """Watches one WebSocket. What happened in between is noted; the sweep gives it a time."""

    __slots__ = ("_active", "_active_ns", "_heard", "_heard_ns", "_pinged")

    def __init__(self) -> None:
        self._heard = self._active = True
        self._heard_ns = self._active_ns = 0
        self._pinged = False

    def heard(self) -> None:
        """Bytes came from the client."""
        self._heard = True

    def active(self) -> None:
        """A whole message went one way or the other."""
        self._active = True

    def beat(self, now_ns: int, limits: Limits, *, listening: bool) -> Beat:
        """Decide. A client that is not read from can't be expected to be heard."""
        if self._active:
            self._active, self._active_ns = False, now_ns
        if self._heard or not listening:
            self._heard, self._heard_ns, self._pinged = False, now_ns, False
        if now_ns - self._active_ns > limits.stream_idle_s * _NS:
            return Beat.IDLE
        silent_s = (now_ns - self._heard_ns) / _NS
        if self._pinged:
            return Beat.LOST if silent_s > limits.ping_s + limits.pong_s else Beat.NONE
        if silent_s > limits.ping_s:
            self._pinged = True
            return Beat.PING
        return Beat.NONE
