"""How answers leave the instance: an OUTCOME frame, with BODY frames behind it where one packet is too small."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from typing import Final

from wisp.runtime import frames
from wisp.runtime.failures import AnswerError, first_line, trace_of
from wisp.runtime.frames import BLOCK_MAX, BODY, BODY_MAX, ERROR, MORE, OUTCOME, OUTCOME_FRAME, OUTCOME_HEAD
from wisp.runtime.invocation import Invocation
from wisp.runtime.link import CallerGone, Link
from wisp.runtime.logs import Capture


class Streamed:
    """A body that comes in pieces. `first` leaves with the headers; `source` is closed at the end, in any case."""

    __slots__ = ("first", "rest", "source")

    def __init__(self, first: bytes, rest: Iterator[bytes], source: object) -> None:
        self.first = first
        self.rest = rest
        self.source = source

    def close(self) -> None:
        """Close the source, where it can be closed."""
        close = getattr(self.source, "close", None)
        if close is not None:
            close()


Answer = tuple[int, bytes, bytes | Streamed]  # HTTP status, header block, body

_HEAD: Final = OUTCOME_HEAD.size
_QUIET: Final = (b"", 0)
_EVENTS: Final = b"content-type: text/event-stream"


class Sender:
    """Sends the answers of one instance where no event loop runs."""

    def __init__(self, link: Link, capture: Capture) -> None:
        self._link = link
        self._capture = capture

    def answer(self, invocation: Invocation, answer: Answer) -> None:
        """Send any answer.

        Raises: `AnswerError` before anything is sent; never what the function's own stream raises (that is told).
        """
        status, block, body = answer
        if isinstance(body, Streamed):
            self._stream(invocation, status, block, body=body)
            return
        check_answer(status, block)
        if len(body) > BODY_MAX:
            self._large(invocation, status, block, body=body)
        else:
            log = self._capture.close(invocation)
            self._last(outcome(invocation, 0, status=status, block=block, body=body, log=log))

    def error(self, invocation: Invocation, error: BaseException) -> None:
        """Send an error outcome."""
        log = self._capture.close(invocation)
        self._last(error_outcome(invocation, error, log))

    def _last(self, packet: bytes) -> None:
        """Send the last frame of a call. No CALL of one of its threads may follow it."""
        if self._link.shared:
            with self._link.changed:
                self._link.send(packet)
        else:
            self._link.send(packet)

    def _large(self, invocation: Invocation, status: int, block: bytes, *, body: bytes) -> None:
        view = memoryview(body)
        self._link.take_credit(invocation, BODY_MAX)
        log = self._capture.close(invocation)
        self._link.send(outcome(invocation, MORE, status=status, block=block, body=view[:BODY_MAX], log=log))
        try:
            self._link.send_part(invocation, view[BODY_MAX:], more=False)
        except CallerGone as error:
            self._last(broken(invocation, error))

    def _stream(self, invocation: Invocation, status: int, block: bytes, *, body: Streamed) -> None:
        first = memoryview(body.first)
        failed: BaseException | None = None
        try:
            check_answer(status, block)
            self._link.take_credit(invocation, min(len(first), BODY_MAX))
            self._link.send(outcome(invocation, MORE, status=status, block=block, body=first[:BODY_MAX], log=_QUIET))
            if len(first) > BODY_MAX:
                self._link.send_part(invocation, first[BODY_MAX:], more=True)
            for piece in body.rest:
                if piece:
                    self._link.send_part(invocation, piece, more=True)
        except BaseException as error:
            failed = error
        try:
            body.close()
        except BaseException as error:
            failed = failed or error
        if failed is not None:
            *before, last = failure(invocation, failed, self._capture)
        else:
            before, last = closing_log(invocation, self._capture), frames.pack(BODY, invocation.number)
        for packet in before:
            self._link.send(packet)
        self._last(last)


def check_answer(status: int, block: bytes) -> None:
    """Raise `AnswerError` for what the gateway would take for a broken instance."""
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise AnswerError(f"the response's status is {status!r}, not a number within 200 to 599")
    if len(block) > BLOCK_MAX:
        raise AnswerError(f"the response's headers are {len(block)} bytes, limit {BLOCK_MAX}")


def outcome(
    invocation: Invocation,
    flags: int,
    *,
    status: int,
    block: bytes,
    body: bytes | memoryview,
    log: tuple[bytes, int],
) -> bytes:
    """Return an OUTCOME packet. `log` is (text, lines dropped)."""
    invocation.answered = True
    if flags & MORE and (status == 101 or _EVENTS in block.lower()):
        invocation.endless = True
    text, dropped = log
    sizes = (len(block), len(text), dropped)
    run_ns = time.monotonic_ns() - invocation.started_ns
    head = _HEAD + len(block) + len(text)
    fixed = OUTCOME_FRAME.pack(
        OUTCOME, flags, status, head, invocation.number, len(body), run_ns, peak_bytes(), *sizes
    )
    return b"".join((fixed, block, text, body))


def error_outcome(invocation: Invocation, error: BaseException, log: tuple[bytes, int]) -> bytes:
    """Return the OUTCOME of a call that raised: the block is its first line, the body the traceback."""
    return outcome(invocation, ERROR, status=502, block=first_line(error), body=trace_of(error), log=log)


def failure(invocation: Invocation, error: BaseException, capture: Capture) -> list[bytes]:
    """Return the frames that end a call which failed, whatever has left of its answer."""
    if not invocation.answered:
        return [error_outcome(invocation, error, capture.close(invocation))]
    return [*closing_log(invocation, capture), broken(invocation, error)]


def broken(invocation: Invocation, error: BaseException) -> bytes:
    """Return the frame that ends a streamed answer in the middle."""
    return frames.pack(BODY, invocation.number, flags=ERROR, head=first_line(error), body=trace_of(error))


def closing_log(invocation: Invocation, capture: Capture) -> list[bytes]:
    """Close the log of a streamed call, whose OUTCOME has long gone: what is left goes as a LOG frame."""
    text, dropped = capture.close(invocation)
    if not text:
        return []
    return [frames.pack(frames.LOG, invocation.number, meta=min(dropped, 65_535), body=text)]


def peak_bytes() -> int:
    """Return the largest resident size this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
