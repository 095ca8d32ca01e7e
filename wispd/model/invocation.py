"""Invocation: one call on its way through the gateway, and the words for how it ended."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from wispd.model.function import MEMORY_START

if TYPE_CHECKING:
    from wispd.base.errors import Fault
    from wispd.model.function import Version

_MIB_LESS: Final = 1_048_575  # sizes are rounded up to whole MiB


NEVER_NS: Final = (1 << 63) - 1  # a deadline that does not come


class Status(IntEnum):
    """Statuses of an invocation; the numbers are what a record holds."""

    QUEUED = 0
    RUNNING = 1
    OK = 2
    ERROR = 3
    TIMEOUT = 4
    MEMORY_EXHAUSTED = 5
    INSTANCE_LOST = 6
    CANCELLED = 7
    THROTTLED = 8

    @property
    def word(self) -> str:
        """The status as users see it."""
        return self.name.lower()


class Trigger(IntEnum):
    """Where an invocation came from; the numbers are what a record holds."""

    HTTP = 1
    ADMIN = 2
    CALL = 3  # wisp.call from another function
    EVENT = 4
    TIMER = 5
    QUEUE = 6


class Sink(Protocol):
    """Who gets the answer: an HTTP connection, a call from another function, a delivery.

    `head` comes once, then `chunk` until one says `more=False`; or `fault` instead of `head`, or in place of the next
    `chunk` when the answer breaks off. Nothing comes after `Invocation.cancelled` is set. None of them may raise.
    """

    def head(self, invocation: Invocation, status: int, block: bytes, body: bytes, more: bool) -> None:
        """Deliver the answer's start. `block` is validated header lines, each ended by CRLF; no framing headers."""

    def chunk(self, invocation: Invocation, body: bytes | memoryview, more: bool) -> None:
        """Deliver the next part of the body. A view is of immutable bytes: it may be kept."""

    def fault(self, invocation: Invocation, fault: Fault) -> None:
        """The invocation failed."""

    def want_body(self, invocation: Invocation) -> None:
        """The instance takes more of the request body (after `feed` said stop)."""


class Invocation:
    """One call in flight. Mutable, made once per call, so it is slots and no more.

    Times are CLOCK_MONOTONIC nanoseconds. `frame` is the INVOKE frame as bytes, the same for every instance, so that
    a frame taken back can be sent again; `rest` are the BODY frames of a body above BODY_MAX.
    """

    __slots__ = (
        "answer_lines",
        "attempt",
        "billed_ns",
        "body_done",
        "bytes_in",
        "bytes_out",
        "cancelled",
        "cold",
        "deadline_ns",
        "depth",
        "endless",
        "error",
        "fed",
        "finished_ns",
        "frame",
        "http_status",
        "id",
        "idle_ns",
        "init_ns",
        "instance",
        "log",
        "log_dropped",
        "number",
        "peak_bytes",
        "pool",
        "received_ns",
        "received_us",
        "rest",
        "run_ns",
        "said_ns",
        "sent_ns",
        "sink",
        "started_answer",
        "status",
        "trace",
        "trigger",
        "version",
        "websocket",
    )

    def __init__(  # noqa: PLR0913  (made on the hot path: one call, no builder)
        self,
        number: int,
        id_: bytes,
        version: Version,
        sink: Sink,
        *,
        received_ns: int,
        received_us: int,
        deadline_ns: int,
        frame: bytes,
        trigger: Trigger = Trigger.HTTP,
        bytes_in: int = 0,
        depth: int = 0,
    ) -> None:
        self.number = number  # call number on the wire
        self.id = id_
        self.version = version
        self.sink = sink
        self.received_ns = received_ns
        self.received_us = received_us  # wall clock, microseconds
        self.deadline_ns = deadline_ns
        self.frame = frame
        self.trigger = trigger
        self.bytes_in = bytes_in
        self.depth = depth
        self.rest: list[bytes] | None = None
        self.body_done = True  # False: the request body is still arriving (`Dispatcher.feed`)
        self.websocket = False  # both bodies are messages (wisp/runtime/messages.py)
        self.endless = False  # a stream of events: its deadline moves with each
        self.idle_ns = 0  # how long a stream of events may say nothing
        self.fed = False  # a part of the body went to an instance as it arrived: it can't be sent again
        self.attempt = 0
        self.pool: Any = None  # the gateway's pool of the version
        self.instance: Any = None  # the gateway's instance that has it
        self.status = Status.QUEUED
        self.http_status = 0
        self.sent_ns = 0  # when the frame went to the instance
        self.finished_ns = 0
        self.init_ns = 0  # of the cold start this invocation waited for, else 0
        self.run_ns = 0  # wall time, measured by the gateway
        self.said_ns = 0  # what the instance says it ran: believed for placing events, never for billing
        self.billed_ns = 0  # run_ns less the time the instance waited for a CPU
        self.bytes_out = 0
        self.peak_bytes = 0  # advisory: what the instance said
        self.cold = False
        self.cancelled = False
        self.started_answer = False
        self.error: Fault | None = None
        self.trace = b""  # the function's traceback, for the record only
        self.log = b""
        self.log_dropped = 0
        self.answer_lines = b""  # header lines that the door adds to the answer

    def keep_open(self, now_ns: int) -> None:
        """A stream of events has said something: it may be silent for so long again, instead of until its timeout."""
        if self.idle_ns:
            self.endless = True
            self.deadline_ns = now_ns + self.idle_ns

    @property
    def memory_mib(self) -> int:
        """Memory it is billed for, in whole MiB, rounded up.

        The instance knows the size it was given; the pool may have grown since, where memory is "auto".
        """
        sized = self.instance if self.instance is not None else self.pool
        memory_bytes = sized.memory_bytes if sized is not None else self.version.memory_bytes or MEMORY_START
        return int((memory_bytes + _MIB_LESS) >> 20)
