"""The border between the HTTP/1.1 server and what answers: `Application` above, `Exchange` below."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from wispd.base.errors import Fault
from wispd.gateway.http1_head import Head
from wispd.model.invocation import Invocation, Sink


class Problem(NamedTuple):
    """A fault as an answer. `block` is header lines, each ended by CRLF, without framing headers."""

    status: int
    block: bytes
    body: bytes


class Conversation(Sink, Protocol):
    """Whoever is the sink of an invocation and brings it its body: an exchange, or what it became."""

    invocation: Invocation | None
    state: Any


class Exchange(Conversation, Protocol):
    """One request and its answer; reused for the connection's next request once the answer is complete.

    It is also the `Sink` of an `Invocation`: set `invocation` to it, and answers of any other are ignored. Every
    exchange is answered exactly once: by `answer`, by `refuse`, or through its invocation. `state` is the
    application's own, emptied with each request.
    """

    request: Head
    peer: bytes  # the client's address, `-` on a Unix socket

    def collect(self, limit_bytes: int) -> None:
        """Receive the whole body, then call `Application.collected`, perhaps before this returns.

        A longer body is refused with `payload_too_large`: at once if its length is declared, else when it gets there.
        """

    def stream(self) -> None:
        """Receive the body part by part through `Application.arrived`, from within this call on."""

    def answer(self, status: int, block: bytes, body: bytes) -> None:
        """Answer as a whole. `block`: header lines, each ended by CRLF, without framing headers."""

    def refuse(self, fault: Fault) -> None:
        """Answer with `Application.problem`. If a part of the answer is out already, break it off visibly."""


class Application(Protocol):
    """What answers. None of its methods may raise or block."""

    def requested(self, exchange: Exchange) -> None:
        """A head is there. If it has a body (`request.length`), one that is not asked for is never read."""

    def collected(self, exchange: Exchange, body: bytes) -> None:
        """The whole body is there."""

    def arrived(self, exchange: Conversation, part: bytes, more: bool) -> bool:
        """A part of a streamed body is there; False: stop until `Sink.want_body`."""

    def gone(self, exchange: Conversation) -> None:
        """The client left, or stopped sending, before the answer was complete. Nothing can be answered any more."""

    def paused(self, exchange: Conversation) -> None:
        """The client reads more slowly than the answer comes."""

    def resumed(self, exchange: Conversation) -> None:
        """The client has caught up."""

    def hostile(self, exchange: Conversation, reason: str) -> None:
        """The instance sent what no correct one sends."""

    def ending(self, invocation: Invocation) -> None:
        """The client of an endless invocation is done: from now on its timeout counts."""

    def reserve(self, size: int) -> bool:
        """May this many more bytes of request bodies be buffered? A negative size gives them back: always True."""

    def decorate(self, invocation: Invocation) -> bytes:
        """Return header lines for an invocation's answer, each ended by CRLF: at least its id."""

    def problem(self, fault: Fault, invocation: Invocation | None) -> Problem:
        """Write a fault down for the client; `invocation` is what failed, if it got that far."""
