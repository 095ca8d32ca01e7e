"""`wisp usage`."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from wispd.base.errors import Fault
from wispd.cli.amounts import money
from wispd.cli.options import Where, node_options
from wispd.cli.output import print_json, say, size_text, table


@click.command()
@click.option("--since", default="", help="10m (ago), or a time such as 2026-01-31T12:00:00Z.")
@click.option("--until", default="", help="The same; without it up to now.")
@click.option(
    "--by", default="function", show_default=True, help="namespace, function, version, minute, hour, day; by commas."
)
@node_options
def usage(where: Where, since: str, until: str, by: str) -> None:
    """Show what ran and what it costs, and how budgets stand. `--by namespace` shows all namespaces.

    Days and months are UTC.
    """
    words = [word.strip() for word in by.split(",") if word.strip()]
    with where.client() as client:
        ask = client.usage_of_node if "namespace" in words else client.usage
        bill = ask(since=since, until=until, by=",".join(words))
        budgets: list[dict[str, Any]] = []
        with contextlib.suppress(Fault):  # an invoice is worth having without them
            budgets = client.budgets()
    if where.as_json:
        print_json(bill | {"budgets": budgets})
        return
    _print(bill, words)
    for budget in budgets:
        say(budget_line(budget, bill["prices"]["currency"]))


def _print(bill: dict[str, Any], words: list[str]) -> None:
    titles, keys = [], []
    for key, shown in (
        ("period", any(word in words for word in ("minute", "hour", "day"))),
        ("namespace", "namespace" in words),
        ("function", "function" in words or "version" in words),
        ("version", "version" in words),
    ):
        if shown:
            titles.append(key)
            keys.append(key)
    currency = bill["prices"]["currency"]
    titles += ["calls", "errors", "cold", "GB-s", "warm GB-s", "CPU-s", "in", "out", "free", f"cost {currency}"]
    rows = [[_shown(row, key) for key in keys] + _numbers(row) for row in bill["items"]]
    total = bill["total"]
    if rows:
        first = ["total", *[""] * (len(keys) - 1)] if keys else []
        table(titles, [*rows, first + _numbers(total)] if keys else rows)
    else:
        say("nothing ran: 0.00 " + currency)
    if total.get("dropped"):
        say(f"{total['dropped']} records could not be written: their usage is not in the sums")
    say(_prices(bill["prices"]))


def _shown(row: dict[str, Any], key: str) -> str:
    value = row.get(key, "")
    return str(value)[:16].replace("T", " ") if key == "period" else str(value)


def _numbers(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['calls']:,}",
        f"{row['failed']:,}",
        f"{row['cold']:,}",
        _quantity(row["gb_s"]),
        _quantity(row["warm_gb_s"]),
        _quantity(row["cpu_s"]),
        size_text(row["bytes_in"]),
        size_text(row["bytes_out"]),
        money(row["free_micro"]),
        money(row["cost_micro"]),
    ]


def _quantity(value: float) -> str:
    return "0" if not value else f"{value:,.3f}" if value >= 0.001 else "<0.001"


def _prices(prices: dict[str, Any]) -> str:
    """Say which price list a bill was made with."""
    parts = [
        f"{prices['call_pico'] / 1e6:g} a million calls",
        f"{prices['gb_s_pico'] / 1e12:.10g} a GB-s",
        f"{prices['warm_gb_s_pico'] / 1e12:.10g} a warm GB-s",
        f"{prices['egress_gb_pico'] / 1e12:g} a GB out",
    ]
    free = ""
    if prices["free_calls"] or prices["free_gb_s"]:
        free = f"; free each month: {prices['free_calls']:,} calls, {prices['free_gb_s']:,} GB-s"
    return f"prices in {prices['currency']}: {', '.join(parts)}{free}"


def budget_line(budget: dict[str, Any], currency: str) -> str:
    """Return how a budget stands, in one line."""
    whose = budget["function"] or f"namespace {budget['namespace']}"
    limit = money(budget["limit_micro"])
    if budget["state"] == "unknown":
        return f"budget {whose}: {limit} {currency} a {budget['period']}; how much is spent is not known now"
    spent = money(budget["spent_micro"])
    share = f" ({budget['spent_micro'] / budget['limit_micro']:.0%})" if budget["limit_micro"] else ""
    return (
        f"budget {whose}: {spent} of {limit} {currency} this {budget['period']}{share}, {budget['state']}, "
        f"then {budget['then']}; resets {budget['resets']}"
    )
