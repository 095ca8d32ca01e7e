"""`wisp stats` and `wisp why`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from wispd.cli.amounts import money
from wispd.cli.completing import function_names
from wispd.cli.options import Where, node_options, suggesting
from wispd.cli.output import print_json, say, size_text, table

BARS: Final = "▁▂▃▄▅▆▇█"
ROWS_MAX: Final = 48  # steps shown as a table; more are only drawn


@click.command()
@click.argument("name", shell_complete=function_names)
@click.option("--since", default="24h", show_default=True, help="24h (ago), or a time such as 2026-01-31T12:00:00Z.")
@click.option("--step", default="1h", show_default=True, help="Whole minutes, such as 5m; hours beyond 7 days.")
@node_options
def stats(where: Where, name: str, since: str, step: str) -> None:
    """Show calls, errors, times, memory and cost of the function NAME, step by step and in total."""
    with where.client() as client, suggesting(client, name):
        found = client.statistics(name, since=since, step=step)
    if where.as_json:
        print_json(found)
        return
    total, items = found["total"], found["items"]
    for title, text in _total(total, found["currency"]):
        say(f"{title:<9} {text}")
    if total["calls"]:
        say()
        say(f"calls     {sparkline([one['calls'] for one in items])}  {items[0]['start'][:16]} … now, by {step}")
        say(f"run p95   {sparkline([one['run_p95_ms'] for one in items])}")
        if total["errors"]:
            say(f"errors    {sparkline([one['errors'] for one in items])}")
        busy = [one for one in items if one["calls"] or one["refused"]]
        titles = (
            "from",
            "calls",
            "errors",
            "refused",
            "cold",
            "retries",
            "run p50",
            "p95",
            "p99",
            "delay p95",
            "cost",
        )
        table(titles, [_row(one) for one in busy[-ROWS_MAX:]])


def _total(total: dict[str, Any], currency: str) -> list[tuple[str, str]]:
    refused = f", {total['refused']:,} refused above a limit" if total["refused"] else ""
    retries = f", {total['retries']:,} retries" if total["retries"] else ""
    return [
        ("calls", f"{total['calls']:,}, {total['errors']:,} failed ({total['error_rate']:.2%}){refused}{retries}"),
        ("run", _times(total, "run")),
        ("delay", f"{_times(total, 'delay')}; {total['cold']:,} cold"),
        ("memory", f"{size_text(total['peak_bytes'])} at most"),
        ("cost", money(total["cost_micro"], currency)),
    ]


def _times(total: dict[str, Any], what: str) -> str:
    mean, p50, p95, p99 = (total[f"{what}_{key}_ms"] for key in ("mean", "p50", "p95", "p99"))
    return f"{ms_text(mean)} mean, {ms_text(p50)} half, {ms_text(p95)} 95 %, {ms_text(p99)} 99 %"


def _row(one: dict[str, Any]) -> list[str]:
    counts = [f"{one[key]:,}" for key in ("calls", "errors", "refused", "cold", "retries")]
    times = [ms_text(one[key]) for key in ("run_p50_ms", "run_p95_ms", "run_p99_ms", "delay_p95_ms")]
    return [one["start"][:16].replace("T", " "), *counts, *times, money(one["cost_micro"])]


def ms_text(milliseconds: float) -> str:
    """Return a duration for people."""
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.2f} s"
    if milliseconds >= 10 or not milliseconds:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds:.2f} ms"


def sparkline(values: Sequence[float]) -> str:
    """Return one block per value, from nothing to the highest; a dot for none."""
    most = max(values, default=0)
    if not most:
        return "·" * len(values)
    top = len(BARS) - 1
    return "".join(BARS[round(value / most * top)] if value else "·" for value in values)


@click.command()
@click.argument("name", shell_complete=function_names)
@click.option("--since", default="1h", show_default=True, help="1h (ago), or a time such as 2026-01-31T12:00:00Z.")
@node_options
def why(where: Where, name: str, since: str) -> None:
    """Say why the function NAME is cold, slow, refused or failing, and what to do about it."""
    with where.client() as client, suggesting(client, name):
        found = client.why(name, since=since)
    if where.as_json:
        print_json(found)
        return
    for reason in found["reasons"]:
        say(f"{reason['kind']:<9} {reason['text']}")
        if reason["advice"]:
            say(f"          → {reason['advice']}")
