"""`wisp budget`."""

from __future__ import annotations

import contextlib

import click

from wispd.base.errors import Fault
from wispd.cli.amounts import money, parsed_micro, parsed_shares
from wispd.cli.completing import function_names
from wispd.cli.grouping import Group
from wispd.cli.options import Where, node_options, suggesting
from wispd.cli.output import print_json, say, table
from wispd.cli.usage import budget_line

PERIODS = ("month", "day")


@click.group(cls=Group)
def budget() -> None:
    """Limit what functions may cost in a UTC month or day."""


@budget.command("set")
@click.argument("name", default="", shell_complete=function_names)
@click.argument("amount", default="")
@click.option("--namespace-wide", is_flag=True, help="For everything in the namespace, instead of NAME.")
@click.option("--period", type=click.Choice(PERIODS), default="month", show_default=True, help="UTC.")
@click.option("--at", default="80%", show_default=True, help="Warn when so much is spent; several by commas.")
@click.option(
    "--then",
    type=click.Choice(("warn", "throttle", "stop")),
    default="stop",
    show_default=True,
    help="At the limit: go on, let one call a second in, or let none in.",
)
@node_options
def set_budget(where: Where, name: str, amount: str, namespace_wide: bool, **given: str) -> None:
    """Set the budget of the function NAME (or --namespace-wide) to AMOUNT. A free tier does not stretch it."""
    if namespace_wide and not amount:
        name, amount = "", name
    if namespace_wide == bool(name) or not amount:
        raise click.UsageError("want `budget set NAME AMOUNT` or `budget set --namespace-wide AMOUNT`")
    document = {"limit_micro": parsed_micro(amount), "at": parsed_shares(given["at"]), "then": given["then"]}
    with where.client() as client, suggesting(client, name) if name else contextlib.nullcontext():
        answer = client.set_budget(name, given["period"], document)
        currency = client.usage(since="1m")["prices"]["currency"]
    if where.as_json:
        print_json(answer)
    else:
        say(budget_line(answer, currency))


@budget.command("list")
@node_options
def list_budgets(where: Where) -> None:
    """List budgets and how they stand."""
    with where.client() as client:
        found = client.budgets()
    if where.as_json:
        print_json({"items": found, "next": None})
        return
    if not found:
        say("no budgets; `wisp budget set NAME 5` sets one")
        return
    titles = ("for", "period", "limit", "spent", "reserved", "warn at", "then", "state", "refused", "resets")
    rows = []
    for one in found:
        known = one["state"] != "unknown"
        sums = [money(one[key]) if known else "?" for key in ("spent_micro", "reserved_micro")]
        at = ", ".join(f"{share} %" for share in one["at"])
        tail = (one["then"], one["state"], one["refused"] if known else "?", one["resets"] or "?")
        rows.append((one["function"] or "(namespace)", one["period"], money(one["limit_micro"]), *sums, at, *tail))
    table(titles, rows)


@budget.command("delete")
@click.argument("name", default="", shell_complete=function_names)
@click.option("--namespace-wide", is_flag=True, help="The one for everything in the namespace, instead of NAME's.")
@click.option("--period", type=click.Choice(PERIODS), help="Only this one; without it both.")
@node_options
def delete_budget(where: Where, name: str, namespace_wide: bool, period: str | None) -> None:
    """Delete the budget of the function NAME (or --namespace-wide)."""
    if namespace_wide == bool(name):
        raise click.UsageError("want `budget delete NAME` or `budget delete --namespace-wide`")
    deleted = []
    with where.client() as client:
        for one in (period,) if period else PERIODS:
            try:
                client.remove_budget(name, one)
                deleted.append(one)
            except Fault as fault:
                if fault.code != "not_found":
                    raise
                missing = fault
    if not deleted:
        raise missing
    if where.as_json:
        print_json({"deleted": deleted, "function": name, "namespace": where.namespace})
    else:
        say(f"deleted the budget of {name or f'namespace {where.namespace}'} for the {' and the '.join(deleted)}")
