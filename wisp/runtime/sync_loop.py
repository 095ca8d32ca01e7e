"""The hot path: one call after the other on one thread, no event loop. One `recv` and one `send` per call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from wisp.runtime.dialects import Speaker
from wisp.runtime.frames import BODY_MAX, CALL_FIELD, INVOKE, INWARD_MAX, MORE, OUTCOME, OUTCOME_ECHO, OUTCOME_HEAD
from wisp.runtime.invocation import Invocation, current
from wisp.runtime.link import Link, LinkClosed
from wisp.runtime.logs import Capture
from wisp.runtime.outcomes import Answer, Sender, peak_bytes

_HEAD: Final = OUTCOME_HEAD.size
_BLOCK_SMALL: Final = 1_024
_PEAK_EVERY: Final = 256  # calls between two looks at the memory peak; a call above 1 ms is looked at anyway


def run(link: Link, capture: Capture, speaker: Speaker) -> None:
    """Answer calls until the link ends (`LinkClosed`) or is broken (`FrameError`)."""
    assert speaker.answer is not None
    answer_one = _answering(link, capture, speaker.answer, streaming=speaker.streaming)
    kept, receive, recv = link.kept, link.receive, link.socket.recv
    while True:
        if kept:
            answer_one(kept.popleft())
        elif link.shared:
            answer_one(link.next_invoke())
        else:
            link.reading = True
            if link.shared:  # a thread of the function began to use the link just now
                link.reading = False  # type: ignore[unreachable]
                continue
            try:
                packet = recv(INWARD_MAX)
            except OSError:
                packet = receive()
            link.reading = False
            if link.shared:
                link.route_shared(packet)  # type: ignore[unreachable]
                continue
            if not packet or packet[0] != INVOKE:
                link.route(packet)
                continue
            answer_one(Invocation(packet))


def _answering(
    link: Link, capture: Capture, speak: Callable[[Invocation], Answer], *, streaming: bool
) -> Callable[[Invocation], None]:
    """Return what answers one invocation."""
    sender = Sender(link, capture)
    send, pack, now, enter = link.socket.send, OUTCOME_ECHO.pack, time.monotonic_ns, current.set
    calls, peak = 0, peak_bytes()

    def answer_one(invocation: Invocation) -> None:
        nonlocal calls, peak
        packet = invocation.packet
        invocation.started_ns = started = now()
        enter(invocation)
        try:
            if packet[1] & MORE or streaming:
                _begin_body(link, invocation, streaming=streaming)
            status, block, body = answer = speak(invocation)
            size = len(block)
            if (
                type(body) is bytes
                and invocation.lines is None
                and not link.shared
                and len(body) <= BODY_MAX
                and size <= _BLOCK_SMALL
                and 200 <= status <= 599
            ):
                run_ns = now() - started
                calls += 1
                if run_ns > 1_000_000 or calls > _PEAK_EVERY:
                    peak, calls = peak_bytes(), 0
                invocation.done = True
                number = packet[CALL_FIELD]
                send(
                    pack(OUTCOME, 0, status, _HEAD + size, number, len(body), run_ns, peak, size, 0, 0) + block + body
                )
            else:
                sender.answer(invocation, answer)
        except LinkClosed:
            raise
        except BaseException as error:
            if invocation.done:
                raise  # the link failed, not the function
            sender.error(invocation, error)
        if link.open:
            link.open.pop(invocation.number, None)

    return answer_one


def _begin_body(link: Link, invocation: Invocation, *, streaming: bool) -> None:
    invocation.open()
    link.open[invocation.number] = invocation
    if not streaming:
        link.read_whole_body(invocation)
