"""`wisp logs` and `wisp invocation`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from wispd.cli.completing import function_names
from wispd.cli.grouping import Group
from wispd.cli.options import Where, node_options
from wispd.cli.output import ago, clock_time, facts, note, print_json, say, size_text, styled, table

STATUSES: Final = ("ok", "error", "timeout", "memory_exhausted", "instance_lost", "cancelled")


@click.command()
@click.argument("name", default="", shell_complete=function_names)
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--since", default="", help="10m (ago), or a time such as 2026-01-31T12:00:00Z.")
@click.option("--invocation", default="", help="Of one run.")
@node_options
def logs(where: Where, name: str, follow: bool, since: str, invocation: str) -> None:
    """Print what a function wrote (without NAME: all of them), oldest first. With --json: NDJSON."""
    with where.client() as client:
        if name and not invocation:
            client.function(name)  # a mistyped name is an error, not silence
        for piece in client.logs(follow=follow, function=name, since=since, invocation=invocation):
            if where.as_json:
                print_json(piece)
                continue
            for line in str(piece["text"]).rstrip("\n").split("\n"):
                who = [] if name else [(f"{piece['function']} ", "cyan")]
                styled((f"{clock_time(piece['time'])} ", "dim"), *who, (line, ""))


@click.group(cls=Group)
def invocation() -> None:
    """Show the record of one run, or of many."""


@invocation.command("show")
@click.argument("invocation_id")
@node_options
def show(where: Where, invocation_id: str) -> None:
    """Show one run: outcome, timings, memory, log."""
    with where.client() as client:
        record = client.invocation(invocation_id)
    if where.as_json:
        print_json(record)
        return
    styled((record["invocation_id"], "bold"), ("  ", ""), (record["status"], _style(record["status"])))
    facts(_described(record))
    if record["log"]:
        say("\n" + "".join(str(piece["text"]) for piece in record["log"]).rstrip())
    if record.get("traceback"):
        say()
        for line in str(record["traceback"]).rstrip().split("\n"):
            styled((line, "red"))


@invocation.command("list")
@click.option("--function", "name", default="", shell_complete=function_names, help="Of one function.")
@click.option("--status", type=click.Choice(STATUSES), help="With one outcome.")
@click.option("--since", default="", help="10m (ago), or a time such as 2026-01-31T12:00:00Z.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--cursor", default="", help="`next` of the page before.")
@node_options
def list_invocations(where: Where, name: str, status: str | None, since: str, limit: int, cursor: str) -> None:
    """List runs, newest first."""
    with where.client() as client:
        page = client.invocations(function=name, status=status or "", since=since, limit=str(limit), cursor=cursor)
    if where.as_json:
        print_json({"items": page["items"], "next": page.get("next")})
        return
    if not page["items"]:
        say(
            "no runs"
            if cursor or name or since or status
            else "nothing has run yet; `wisp invoke NAME` runs a function"
        )
        return
    titles = ("invocation", "function", "status", "received", "start", "queue ms", "init ms", "run ms", "billed ms")
    least = ("init ms", "queue ms", "billed ms", "start", "received", "function")
    table(titles, [_row(record) for record in page["items"]], least=least)
    if page.get("next"):
        note(f"more with --cursor {page['next']}")


def _style(status: str) -> str:
    return "green" if status == "ok" else "bold red"


def _row(record: dict[str, Any]) -> tuple[object, ...]:
    start = "cold" if record["cold"] else "warm"
    times = tuple(round(record[key], 2) for key in ("queue_ms", "init_ms", "run_ms"))
    received = ago(record["received"])
    name = f"{record['function']} v{record['version']}"
    return (record["invocation_id"], name, record["status"], received, start, *times, record["billed_ms"])


def _described(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "function", f"{record['function']} version {record['version']}"
    yield "answered", f"HTTP {record['http_status']}, called by {record['trigger']}"
    yield "received", f"{record['received']}, {ago(record['received'])}"
    start = "cold" if record["cold"] else "warm"
    yield "start", f"{start}: queue {record['queue_ms']:.3f} ms, init {record['init_ms']:.3f} ms"
    waited = f"waited {record['cpu_wait_ms']:.3f} ms for a CPU"
    yield "run", f"{record['run_ms']:.3f} ms, billed {record['billed_ms']} ms, {waited}"
    yield "memory", f"{size_text(record['peak_bytes'])} of {size_text(record['memory_bytes'])}"
    yield "bytes", f"{record['bytes_in']} in, {record['bytes_out']} out"
    if record.get("error"):
        yield "error", f"{record['error']['code']}: {record['error']['message']}"
