"""How a call that has ended is shown: one line, then what the function wrote, then its traceback. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from wispd.cli.output import harmless
from wispd.metering.rating import MIB_MS_PER_GIB_S, PriceList

Event = dict[str, Any]
Span = tuple[str, str]  # text, style; texts are harmless
CODE_ROOT: Final = "/app/"  # where an instance sees its code
PATH_MIN: Final = 8
RUNS_MAX: Final = 10_000  # run times kept for the median
_STATUS_STYLES: Final = {1: "cyan", 2: "green", 3: "cyan", 4: "yellow", 5: "bold red"}


class Shown(Struct, frozen=True, kw_only=True):
    """How to show: the width of the terminal, where the code lies on this machine, and whether names are needed."""

    width: int
    root: str = ""  # of the code, with a slash at the end
    named: int = 0  # columns of the function's name; 0: there is only one


def call_lines(event: Event, shown: Shown) -> Iterator[list[Span]]:
    """Yield the lines of one call."""
    yield _summary(event, shown)
    yield from text_lines(event["log"])
    if event.get("traceback"):
        yield from text_lines(local_paths(event["traceback"], shown.root), style="red")
    elif event.get("error"):
        error = event["error"]
        yield from text_lines(f"{error['code']}: {local_paths(error['message'], shown.root)}", style="red")


def log_lines(event: Event) -> Iterator[list[Span]]:
    """Yield lines that a function wrote outside of an answer: while it was imported, or ahead of its outcome."""
    yield from text_lines(event["text"])


def refused_line(event: Event) -> list[Span]:
    """Return the line of a call that was not let in."""
    return [(f"  {harmless(event['function'])} refused a call: ", "yellow"), (harmless(event["code"]), "bold yellow")]


def text_lines(text: str, *, style: str = "") -> Iterator[list[Span]]:
    """Yield text behind a bar, so that it can't be taken for lines of ours."""
    if text.strip("\n"):
        for line in text.rstrip("\n").split("\n"):
            yield [("  │ ", "dim"), (harmless(line), style)]


def local_paths(text: str, root: str) -> str:
    """Return a traceback with this machine's paths in place of the sandbox's."""
    return text.replace(f'File "{CODE_ROOT}', f'File "{root}') if root else text


def _summary(event: Event, shown: Shown) -> list[Span]:
    time = datetime.fromtimestamp(event["received_us"] / 1e6).strftime("%H:%M:%S")
    number = int(event["http_status"])
    word = "" if event["status"] in ("ok", "error") else f" {event['status']}"
    status = (f"{number or '-'}{word}", _STATUS_STYLES.get(number // 100, "bold red"))
    cold = ("cold", "magenta") if event["cold"] else ("warm", "dim")
    elapsed = (f"{_ms(event['elapsed_ms']):>9}", "")
    cost = (f"{cost_micro(event):>7.3f} µ$", "dim")
    name = [(f"{harmless(event['function']):<{shown.named}} ", "cyan")] if shown.named else []
    method = f"{harmless(event['method'] or event['trigger']):<6} "
    fixed = 9 + len(method) + sum(len(text) for text, _ in (*name, status, cold, elapsed, cost)) + 4
    room = max(PATH_MIN, shown.width - fixed)
    path = _cut(harmless(event["path"]), room)
    spans = [(f"{time} ", "dim"), *name, (method, "bold"), (f"{path:<{room}} ", "")]
    return [*spans, status, (" ", ""), cold, (" ", ""), elapsed, (" ", ""), cost]


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def cost_micro(event: Event, prices: PriceList | None = None) -> float:
    """Return what a call costs in micro-units, with fractions: one call costs less than one."""
    prices = prices or PriceList()
    mib_ms = event["billed_ms"] * -(-event["memory_bytes"] // 1_048_576)
    return float(prices.call_pico + mib_ms * prices.gib_s_pico / MIB_MS_PER_GIB_S) / 1e6


class Tally:
    """What ran, for the summary at the end."""

    def __init__(self) -> None:
        self.calls = self.failed = self.cold = self.billed_ms = self.missed = 0
        self.cost_micro = 0.0
        self._elapsed: list[float] = []

    def add(self, event: Event) -> None:
        """Count a call that has ended."""
        self.calls += 1
        self.failed += event["status"] != "ok"
        self.cold += bool(event["cold"])
        self.billed_ms += event["billed_ms"]
        self.cost_micro += cost_micro(event)
        if len(self._elapsed) < RUNS_MAX:
            self._elapsed.append(event["elapsed_ms"])

    def document(self) -> dict[str, Any]:
        """Return the sums as JSON values."""
        times = self._elapsed or [0.0]
        return {
            "calls": self.calls,
            "failed": self.failed,
            "cold": self.cold,
            "median_ms": round(statistics.median(times), 3),
            "slowest_ms": round(max(times), 3),
            "billed_ms": self.billed_ms,
            "cost_micro": round(self.cost_micro, 3),
            "not_shown": self.missed,
        }

    def sentence(self) -> str:
        """Return the sums for people."""
        if not self.calls:
            return "no calls"
        sums = self.document()
        calls = f"{self.calls} call{'s' if self.calls != 1 else ''}"
        parts = [f"{count} {word}" for count, word in ((self.failed, "failed"), (self.cold, "cold")) if count]
        counted = f"{calls} ({', '.join(parts)})" if parts else calls
        times = f"median {_ms(sums['median_ms'])}, slowest {_ms(sums['slowest_ms'])}"
        return f"{counted}, {times}, billed {self.billed_ms} ms, cost {self.cost_micro:.3f} µ$"
