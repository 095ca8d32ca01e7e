"""A temporary node and everything that happens around it, as one stream of events for one loop.

Threads only fetch: calls that have ended, saved files, lines from the keyboard, how a deployment went. The loop that
shows them runs in the main thread, where signals arrive too, so it never waits for any of them.
"""

from __future__ import annotations

import contextlib
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from msgspec import Struct

from wispd.app import settings
from wispd.app.detaching import Started, start, temporary_dir
from wispd.base.errors import Fault
from wispd.client.node import NodeClient

ASK_AGAIN_S: Final = 0.3  # after the node did not answer
WAITING_MAX: Final = 2_000  # events; while the terminal is that far behind, calls are counted, not shown
LIFE_S: Final = 0.5  # how often it is seen whether the node is alive
POOL_MEMBERS: Final = 2  # one person calls it
_AWAY: Final = ("unavailable", "draining")
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Called(Struct, frozen=True):
    """Calls that have ended, log text; `missed`: so many were not fetched in time."""

    items: list[dict[str, Any]]
    missed: int = 0


class Typed(Struct, frozen=True):
    """A line from the keyboard."""

    word: str


class Saved(Struct, frozen=True):
    """Files that changed."""

    paths: frozenset[Path]


class Ended(Struct, frozen=True):
    """It is over: by a signal, or because the node is gone (0)."""

    signal: int


class Done(Struct, frozen=True):
    """How a piece of work went: what it returned, or the fault."""

    outcome: Any = None
    fault: Fault | None = None


class Built(Struct, frozen=True):
    """What a build says."""

    event: dict[str, Any]


Happening = Built | Called | Typed | Saved | Ended | Done


class TemporaryNode:
    """A node that ends with this process. Use it as a context manager."""

    def __init__(self, flags: dict[str, Any]) -> None:
        """Start it. Raises: `Fault`."""
        self.events: SimpleQueue[Happening] = SimpleQueue()
        self.path = temporary_dir()
        self._started = _start(self.path, flags)
        self.serving = self._started.serving
        self._over = threading.Event()

    def __enter__(self) -> TemporaryNode:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._started.end(self.path)

    def client(self) -> NodeClient:
        """Return a client of its own for the thread that asks."""
        return NodeClient(self.serving["admin_url"], self.serving["token"])

    @contextlib.contextmanager
    def signalled(self) -> Iterator[None]:
        """Turn signals into events; whatever else happens here goes on until the loop sees them."""
        before = {one: signal.signal(one, lambda number, _: self.events.put(Ended(number))) for one in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def follow(self) -> None:
        """Begin to tell calls and the node's end."""
        self._thread(self._calls)
        self._thread(self._life)

    def follow_keys(self) -> None:
        """Begin to tell lines from the keyboard, if there is one."""
        if sys.stdin is not None and sys.stdin.isatty():
            self._thread(self._keys)

    def follow_files(self, saved: Callable[[threading.Event], Iterator[frozenset[Path]]]) -> None:
        """Begin to tell saved files."""

        def tell() -> None:
            for paths in saved(self._over):
                self.events.put(Saved(paths))

        self._thread(tell)

    def built(self, event: dict[str, Any]) -> None:
        """Tell what a build says; called by the thread that deploys."""
        if event.get("event") == "step":
            self.events.put(Built(event))

    def work(self, work: Callable[[], Any]) -> None:
        """Do something in a thread of its own; its end is an event."""

        def do() -> None:
            try:
                self.events.put(Done(outcome=work()))
            except Fault as fault:
                self.events.put(Done(fault=fault))

        self._thread(do)

    @staticmethod
    def _thread(target: Callable[[], None]) -> None:
        threading.Thread(target=target, daemon=True).start()

    def _calls(self) -> None:
        after: int | None = None
        with self.client() as client:
            while not self._over.is_set():
                try:
                    told = client.calls(after)
                except Fault as fault:
                    if fault.code not in _AWAY:
                        self.events.put(Done(fault=fault))
                        return
                    after = None  # a gateway that was started again counts anew
                    self._over.wait(ASK_AGAIN_S)
                    continue
                items, reached = told["items"], int(told["next"])
                missed = max(0, reached - (after or reached) - len(items)) if after is not None else 0
                after = reached
                if self.events.qsize() > WAITING_MAX:
                    items, missed = [], missed + len(items)
                if items or missed:
                    self.events.put(Called(items, missed))

    def _life(self) -> None:
        while not self._over.wait(LIFE_S):
            if self._started.process.poll() is not None:
                self.events.put(Ended(0))
                return

    def _keys(self) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select([sys.stdin], [], [], LIFE_S)
            if ready:
                line = sys.stdin.readline()
                if not line:
                    return
                self.events.put(Typed(line.strip().lower()))


def _start(path: Path, flags: dict[str, Any]) -> Started:
    """Start the node; a port that nobody asked for by number may be another one when it is taken."""
    chosen = {"admin_port": 0, "drain_s": 0.0, "pool_members": POOL_MEMBERS} | flags
    try:
        return start(settings.load(str(path), chosen), temporary=True)
    except Fault as fault:
        if fault.code != "conflict" or flags.get("port") is not None:
            raise
    return start(settings.load(str(path), chosen | {"port": 0}), temporary=True)
