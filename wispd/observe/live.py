"""Calls as they end, for whoever watches now: `wisp run`, `wisp dev`, `wisp top`.

Nothing is kept unless somebody asked within the last `WATCHED_S`, and then only the last `EVENTS_MAX` events. Those
who ask say what they have seen; the answer comes when there is more, so a call is shown as soon as it has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from wisp.runtime.frames import HEADER, HTTP, INVOKE_HEAD
from wispd.base.clock import Clock
from wispd.base.ids import to_text
from wispd.model.function import MEMORY_START, Version
from wispd.model.invocation import Invocation
from wispd.ports.observer import Observer

EVENTS_MAX: Final = 1_000
WATCHED_S: Final = 15.0  # after the last question
WAIT_S: Final = 10.0  # for something to answer with
WATCHERS_MAX: Final = 64
TEXT_MAX: Final = 16_384  # log text and traceback of one event
PATH_MAX: Final = 512
_NS: Final = 1_000_000_000

Event = dict[str, Any]
Told = Callable[[list[Event], int], None]  # events, and the number that continues behind them


class _Waiting:
    __slots__ = ("after", "namespace", "told", "until_ns")

    def __init__(self, namespace: str, after: int, told: Told, until_ns: int) -> None:
        self.namespace = namespace
        self.after = after
        self.told = told
        self.until_ns = until_ns


class LiveCalls:
    """Implements `ports.observer.Observer` in front of another one, while `watched`."""

    def __init__(self, behind: Observer, clock: Clock) -> None:
        self._behind = behind
        self._clock = clock
        self._events: deque[tuple[int, str, Event]] = deque(maxlen=EVENTS_MAX)
        self._number = 0
        self._waiting: list[_Waiting] = []
        self._until_ns = 0
        self.watched = False

    def ask(self, namespace: str, after: int, told: Told) -> bool:
        """Tell what came behind event `after` of a namespace, now or when it comes; False: too many ask already.

        A negative `after` is answered at once, with the number that is reached.
        """
        now_ns = self._clock.monotonic_ns()
        self._until_ns, self.watched = now_ns + int(WATCHED_S * _NS), True
        waiting = _Waiting(namespace, after, told, now_ns + int(WAIT_S * _NS))
        if not self._answer(waiting):
            if len(self._waiting) >= WATCHERS_MAX:
                return False
            self._waiting.append(waiting)
        return True

    def tick(self) -> None:
        """Answer those who have waited for long, and forget everything once nobody asks any more."""
        now_ns = self._clock.monotonic_ns()
        late = [one for one in self._waiting if one.until_ns <= now_ns]
        self._waiting = [one for one in self._waiting if one.until_ns > now_ns]
        for one in late:
            one.told([], max(one.after, 0))
        if self.watched and not self._waiting and now_ns > self._until_ns:
            self.watched = False
            self._events.clear()

    # ── the observer ────────────────────────────────────────────────────────────────────────────────────────

    def finished(self, invocation: Invocation) -> None:
        self._behind.finished(invocation)
        self._add(invocation.version.namespace, finished_event(invocation))

    def refused(self, namespace: str, function: str, code: str) -> None:
        self._behind.refused(namespace, function, code)
        if function:
            self._add(namespace, {"kind": "refused", "function": function, "code": code})

    def cold_started(self, version: Version, start_ns: int, init_ns: int, pooled: bool) -> None:
        self._behind.cold_started(version, start_ns, init_ns, pooled)

    def instance_log(self, version: Version, instance: int, text: bytes) -> None:
        self._behind.instance_log(version, instance, text)
        self._add(version.namespace, _log_event(version, "", text))

    def invocation_log(self, invocation_id: bytes, version: Version, text: bytes) -> None:
        self._behind.invocation_log(invocation_id, version, text)
        self._add(version.namespace, _log_event(version, to_text("inv", invocation_id), text))

    def _add(self, namespace: str, event: Event) -> None:
        self._number += 1
        self._events.append((self._number, namespace, event))
        told = [one for one in self._waiting if one.namespace == namespace]  # these had seen everything before it
        if told:
            self._waiting = [one for one in self._waiting if one.namespace != namespace]
            for one in told:
                one.told([event], self._number)

    def _answer(self, one: _Waiting) -> bool:
        if 0 <= one.after <= self._number:
            behind = [entry for entry in self._events if entry[0] > one.after and entry[1] == one.namespace]
            if not behind:
                return False
            one.told([event for _, _, event in behind], self._number)
        else:  # the first question, or one about the numbers of another process
            one.told([], self._number)
        return True


def finished_event(invocation: Invocation) -> Event:
    """Return what is told of an invocation that has ended."""
    version, fault = invocation.version, invocation.error
    method, path = request_line(invocation.frame)
    sized = invocation.instance if invocation.instance is not None else invocation.pool
    return {
        "kind": "call",
        "invocation_id": to_text("inv", invocation.id),
        "function": version.function,
        "version": version.number,
        "received_us": invocation.received_us,
        "trigger": invocation.trigger.name.lower(),
        "method": method,
        "path": path,
        "status": invocation.status.word,
        "http_status": invocation.http_status or (fault.http_status if fault is not None else 0),
        "cold": invocation.cold,
        "elapsed_ms": round((invocation.finished_ns - invocation.received_ns) / 1e6, 3),
        "init_ms": round(invocation.init_ns / 1e6, 3),
        "run_ms": round(invocation.run_ns / 1e6, 3),
        "billed_ms": -(-invocation.billed_ns // 1_000_000),
        "memory_bytes": sized.memory_bytes if sized is not None else version.memory_bytes or MEMORY_START,
        "error": None if fault is None else {"code": fault.code, "message": fault.message[:TEXT_MAX]},
        "traceback": _text(invocation.trace),
        "log": _text(invocation.log),
    }


def request_line(frame: bytes) -> tuple[str, str]:
    """Return method and path of an INVOKE frame, below the function's own prefix and without the query.

    A query may carry secrets; both are empty for what is no HTTP request.
    """
    start = HEADER.size + INVOKE_HEAD.size
    if len(frame) < start or not frame[1] & HTTP:
        return "", ""
    mount = INVOKE_HEAD.unpack_from(frame, HEADER.size)[3]
    line = bytes(frame[start : start + mount + PATH_MAX]).partition(b"\r\n")[0]
    method, _, target = line.partition(b" ")
    path = target.partition(b" ")[0].partition(b"?")[0][mount:]
    return method.decode("ascii", "replace"), path.decode("ascii", "replace") or "/"


def _log_event(version: Version, invocation_id: str, text: bytes) -> Event:
    return {"kind": "log", "function": version.function, "invocation_id": invocation_id, "text": _text(text)}


def _text(content: bytes) -> str:
    return bytes(content[:TEXT_MAX]).decode("utf-8", "replace")
