"""The loop of `wisp run` and `wisp dev`: deploy, show calls, deploy again when files are saved, until it is over."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from wispd.base.clock import SystemClock
from wispd.base.errors import Fault
from wispd.cli.callines import Shown, Tally, call_lines, local_paths, log_lines, refused_line, text_lines
from wispd.cli.failures import OK, PLATFORM
from wispd.cli.output import harmless
from wispd.cli.screen import Screen
from wispd.cli.temporary import Built, Called, Done, Ended, Saved, TemporaryNode

Paths = frozenset[Path]
_NS_PER_MS: Final = 1e6


class Outcome(Struct, frozen=True, kw_only=True):
    """How deploying one function went."""

    name: str
    function: dict[str, Any] | None = None
    fault: Fault | None = None


Deploy = Callable[[Paths | None], list[Outcome]]  # None: everything


class Session:
    """One node, one screen, and what is deployed on it."""

    def __init__(self, node: TemporaryNode, screen: Screen, deploy: Deploy, *, root: str, named: bool) -> None:
        self._node = node
        self._screen = screen
        self._deploy = deploy
        self._root = root
        self._named = named
        self._live: dict[str, str] = {}  # function → version id
        self._numbers: dict[str, int] = {}
        self._broken: set[str] = set()
        self._busy = False
        self._next: Paths | None = frozenset()  # what was saved meanwhile; None: everything
        self._began_ns = 0
        self._asked = False  # for a deployment, by a key
        self._shown = 0  # outcomes of the last deployment
        self._tally = Tally()
        self.on_first: Callable[[list[Outcome]], None] = lambda _: None

    def run(self) -> int:
        """Go on until it is over; return the exit code."""
        self._begin(None)
        while True:
            event = self._node.events.get()
            if isinstance(event, Called):
                self._called(event)
            elif isinstance(event, Saved):
                self._begin(event.paths)
            elif isinstance(event, Done):
                self._done(event)
            elif isinstance(event, Ended):
                return self._ended(event.signal)
            elif isinstance(event, Built):
                self._screen.line((f"  {harmless(str(event.event.get('label', '')))} …", "dim"))
                self._screen.event("building", label=event.event.get("label", ""))
            elif event.word in ("q", "quit", "exit"):
                return self._ended(signal.SIGINT)
            elif event.word in ("r", "redeploy"):
                self._asked = True
                self._begin(None)

    # ── deploying ───────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, paths: Paths | None) -> None:
        if self._busy:
            self._next = None if paths is None or self._next is None else self._next | paths
            return
        self._busy, self._began_ns = True, SystemClock.monotonic_ns()
        self._node.work(lambda: self._deploy(paths))

    def _done(self, event: Done) -> None:
        outcomes: list[Outcome] = event.outcome or []
        self._shown = 0
        if event.fault is not None:
            self._refused("", event.fault)
        elif "" in self._broken:
            self._broken.discard("")
            self._screen.line(("  ✓ ", "bold green"), ("it is right again", "green"))
        for one in outcomes:
            if one.fault is not None:
                self._refused(one.name, one.fault)
            elif one.function is not None:
                self._deployed(one.name, one.function)
        if self._asked and event.fault is None and not self._shown:
            self._screen.line(("  nothing has changed", "dim"))
        self._asked = False
        self.on_first(outcomes)
        self.on_first = lambda _: None
        self._busy, paths, self._next = False, self._next, frozenset()
        if paths is None or paths:
            self._begin(paths)

    def _deployed(self, name: str, function: dict[str, Any]) -> None:
        live = function["live"]
        fresh, mended = self._live.get(name) != live["id"], name in self._broken
        first = name not in self._live
        self._live[name], self._numbers[name] = live["id"], live["number"]
        self._broken.discard(name)
        if first or not (fresh or mended):
            return
        self._shown += 1
        took_ms = (SystemClock.monotonic_ns() - self._began_ns) / _NS_PER_MS
        again = "works again, " if mended else ""
        self._screen.line(
            ("  ✓ ", "bold green"), (f"{harmless(name)} {again}version {live['number']} is live", "green"),
            (f" in {took_ms:.0f} ms", "dim"),
        )  # fmt: skip
        self._screen.event("deployed", function=name, version=live["number"], took_ms=round(took_ms, 1))

    def _refused(self, name: str, fault: Fault) -> None:
        self._broken.add(name)
        self._shown += 1
        number = self._numbers.get(name)
        serving = "nothing is served until it is mended"
        if number or (not name and self._live):
            serving = f"version {number} still serves" if number else "what was live still serves"
        said = local_paths(fault.message, self._root)
        self._screen.line(("  ✗ ", "bold red"), (harmless(said), "red"))
        trace = fault.facts.get("traceback")
        if isinstance(trace, str):
            self._screen.lines(text_lines(local_paths(trace, self._root), style="red"))
        self._screen.line((f"    {serving}; save it again when it is right", "dim"))
        error = {"code": fault.code, "message": said}
        self._screen.event("refused", function=name, error=error, serving_version=number)

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────

    def _called(self, event: Called) -> None:
        for item in event.items:
            if item["kind"] == "call":
                self._tally.add(item)
            if self._screen.as_json:
                self._screen.event(item.pop("kind"), **item)
            else:
                self._screen.lines(self._lines(item))
        if event.missed:
            self._tally.missed += event.missed
            self._screen.line((f"  … {event.missed} more calls, too many to show", "dim"))

    def _lines(self, item: dict[str, Any]) -> Iterator[list[tuple[str, str]]]:
        named = max(map(len, self._live), default=0) if self._named else 0
        shown = Shown(width=self._screen.width, root=self._root, named=named)
        if item["kind"] == "call":
            yield from call_lines(item, shown)
        elif item["kind"] == "log":
            yield from log_lines(item | {"text": local_paths(item["text"], self._root)})
        elif item["kind"] == "refused":
            yield refused_line(item)

    def _ended(self, number: int) -> int:
        self._screen.line()
        if not number:
            self._screen.line(("the node has ended; see the messages above", "bold red"))
        self._screen.line((self._tally.sentence(), "bold"))
        self._screen.event("ended", **self._tally.document())
        return OK if number else PLATFORM
