"""`wisp top`: functions as they run. Two looks at the gateway's counters make one picture."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from wispd.base.clock import SystemClock
from wispd.base.errors import Fault
from wispd.cli.options import Where, node_options
from wispd.cli.output import harmless, print_json, size_text
from wispd.cli.statistics import ms_text
from wispd.observe.metrics import BUCKET_NS, SUM

if TYPE_CHECKING:
    from rich.console import RenderableType

    from wispd.client.node import NodeClient

EVERY_S: Final = 1.0
_STATES: Final = ("ready", "busy", "starting")
_OTHER: Final = 6  # lines that are not functions


@click.command()
@click.option("--once", is_flag=True, help="Print one picture, of one second, and end.")
@click.option("--every", default=EVERY_S, type=click.FloatRange(0.2, 60), show_default=True, help="Seconds.")
@node_options
def top(where: Where, once: bool, every: float) -> None:
    """Show functions as they run: calls, errors, times, instances, memory. Ctrl-C ends it. --json implies --once."""
    with where.client() as client:
        before = client.live()
        if once or where.as_json:
            time.sleep(every)
            picture = pictured(before, client.live())
            if where.as_json:
                print_json(picture)
            else:
                from rich.console import Console

                Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(_drawn(picture, 1000))
            return
        with contextlib.suppress(KeyboardInterrupt):
            _follow(client, before, every)


def _follow(client: NodeClient, before: dict[str, Any], every: float) -> None:
    """Draw a picture every so often, on a screen of its own, until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    first: RenderableType = Text("…")
    with Live(first, console=console, screen=True, auto_refresh=False) as live:
        due_ns = SystemClock.monotonic_ns()
        while True:
            due_ns += int(every * 1e9)
            time.sleep(max(0.0, (due_ns - SystemClock.monotonic_ns()) / 1e9))
            due_ns = max(due_ns, SystemClock.monotonic_ns())
            try:
                now = client.live()
            except Fault as fault:
                live.update(Text(f"{fault.message}\nwaiting for it to come back; Ctrl-C ends"), refresh=True)
                continue
            live.update(_drawn(pictured(before, now), console.height - _OTHER), refresh=True)
            before = now


def pictured(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return what happened between two looks. A gateway that was replaced in between begins anew. Pure."""
    seconds = max((now["time_ns"] - before["time_ns"]) / 1e9, 1e-3)
    known = {(one["namespace"], one["name"]): one for one in before["functions"]}
    rows = [_row(known.get((one["namespace"], one["name"])), one, seconds) for one in now["functions"]]
    rows.sort(key=lambda row: (-row["calls_per_s"], -sum(row["instances"].values()), row["namespace"], row["name"]))
    node = dict(now["node"])
    node["calls_per_s"] = round(sum(row["calls_per_s"] for row in rows), 1)
    node["errors_per_s"] = round(sum(row["errors_per_s"] for row in rows), 1)
    return {"seconds": round(seconds, 3), "node": node, "functions": rows}


def _row(before: dict[str, Any] | None, now: dict[str, Any], seconds: float) -> dict[str, Any]:
    past = before if before is not None and before["calls"] <= now["calls"] else None
    calls, errors = (now[key] - (past[key] if past else 0) for key in ("calls", "errors"))
    elapsed = [count - (past["elapsed"][index] if past else 0) for index, count in enumerate(now["elapsed"][:SUM])]
    if past is None and before is None:
        calls = errors = 0  # counters of before anybody looked
        elapsed = []
    shown = {key: now[key] for key in ("namespace", "name", "instances", "waiting", "memory_bytes")}
    return shown | {
        "calls_per_s": round(calls / seconds, 1),
        "errors_per_s": round(errors / seconds, 1),
        "p50_ms": round(quantile_ms(elapsed, 0.5), 3),
        "p95_ms": round(quantile_ms(elapsed, 0.95), 3),
    }


def quantile_ms(counts: Sequence[int], share: float) -> float:
    """Return about the duration that `share` of the counted do not exceed; within a bucket it is linear."""
    total = sum(counts)
    wanted, seen = share * total, 0
    for index, count in enumerate(counts):
        if count and seen + count >= wanted:
            low = BUCKET_NS * 2.0 ** (index - 1) if index else 0.0
            return (low + (BUCKET_NS * 2.0**index - low) * (wanted - seen) / count) / 1e6
        seen += count
    return 0.0


def _drawn(picture: dict[str, Any], rows_max: int) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    node = picture["node"]
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    grid.add_column("function", no_wrap=True)
    for title in ("calls/s", "errors/s", "p50", "p95", "ready", "busy", "start", "wait", "memory"):
        grid.add_column(title, justify="right", no_wrap=True)
    shown = picture["functions"][: max(rows_max, 1)]
    for row in shown:
        name = row["name"] if row["namespace"] == "default" else f"{row['namespace']}/{row['name']}"
        failing = "red" if row["errors_per_s"] else ""
        grid.add_row(
            Text(harmless(name)),
            f"{row['calls_per_s']:,.1f}",
            Text(f"{row['errors_per_s']:,.1f}", style=failing),
            ms_text(row["p50_ms"]),
            ms_text(row["p95_ms"]),
            *(str(row["instances"][state]) for state in _STATES),
            str(row["waiting"]),
            size_text(row["memory_bytes"]),
        )
    hidden = len(picture["functions"]) - len(shown)
    parts: list[RenderableType] = [Text(_headline(node)), grid]
    if hidden:
        parts.append(Text(f"and {hidden} more"))
    return Group(*parts)


def _headline(node: dict[str, Any]) -> str:
    instances = ", ".join(f"{node['instances'][state]} {state}" for state in _STATES)
    memory = f"{size_text(node['memory_reserved_bytes'])} of {size_text(node['memory_budget_bytes'])}"
    return (
        f"{node['calls_per_s']:,.1f} calls/s, {node['errors_per_s']:,.1f} errors/s, {node['inflight']} in flight, "
        f"{node['functions']:,} functions\ninstances {instances}; memory {memory} reserved"
    )
