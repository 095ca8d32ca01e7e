"""Several calls at once for plain functions: one thread reads and routes, a bounded number of others run them."""

from __future__ import annotations

import queue
import threading
import time
from typing import Final

from wisp.runtime.dialects import Speaker
from wisp.runtime.failures import AnswerError
from wisp.runtime.invocation import Invocation, current
from wisp.runtime.link import CallerGone, Link, LinkClosed
from wisp.runtime.logs import Capture
from wisp.runtime.outcomes import Sender

THREADS_MAX: Final = 64  # of one instance, whatever its concurrency says; what comes above waits in order


def run_threads(link: Link, capture: Capture, speaker: Speaker, *, concurrency: int) -> None:
    """Answer calls until the link ends (`LinkClosed`) or is broken (`FrameError`)."""
    crew = Crew(link, capture, speaker, threads_max=min(concurrency, THREADS_MAX))
    while True:
        crew.give(link.next_invoke())


class Crew:
    """Threads that run calls; one more is started when a call finds none free."""

    def __init__(self, link: Link, capture: Capture, speaker: Speaker, *, threads_max: int) -> None:
        assert speaker.answer is not None
        self._speak = speaker.answer
        self._streaming = speaker.streaming
        self._link = link
        self._sender = Sender(link, capture)
        self._waiting: queue.SimpleQueue[Invocation] = queue.SimpleQueue()
        self._threads_max = threads_max
        self._threads = 0
        self._free = threading.Semaphore(0)

    def give(self, invocation: Invocation) -> None:
        """Have a call run as soon as a thread is free."""
        self._waiting.put(invocation)
        if self._free.acquire(blocking=False) or self._threads >= self._threads_max:
            return
        try:
            threading.Thread(target=self._run, name=f"wisp-call-{self._threads}", daemon=True).start()
            self._threads += 1
        except RuntimeError:
            if not self._threads:
                raise  # no thread at all can be had: nothing would ever run

    def _run(self) -> None:
        while True:
            invocation = self._waiting.get()
            try:
                self._answer(invocation)
            except (LinkClosed, OSError):
                return  # the reader sees it too, and ends the instance
            self._free.release()

    def _answer(self, invocation: Invocation) -> None:
        current.set(invocation)
        invocation.started_ns = time.monotonic_ns()
        try:
            if not self._streaming:
                self._link.read_whole_body(invocation)
            if invocation.cancelled:
                raise AnswerError("cancelled before it began")
            self._sender.answer(invocation, self._speak(invocation))
        except LinkClosed:
            raise
        except BaseException as error:
            if invocation.done and not isinstance(error, CallerGone):
                raise
            self._sender.error(invocation, error)
        finally:
            self._link.open.pop(invocation.number, None)
