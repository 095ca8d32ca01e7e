"""`wisp rollout`: start, status, abort, promote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from wispd.base.errors import Fault
from wispd.cli.completing import function_names
from wispd.cli.grouping import Group
from wispd.cli.options import Where, node_options, suggesting
from wispd.cli.output import print_json, say
from wispd.cli.versions import sticky_document, sticky_options, sticky_text, version_number


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a rollout goes."""
    for option in reversed(
        (
            click.option("--steps", help="Growing percents of the calls; the default is 5,25,50,100."),
            click.option("--every", help="How long each step lasts; the default is 1m."),
            click.option("--max-errors", help='Failed calls allowed; the default is 2%, "off" does not watch them.'),
            click.option("--max-latency", metavar="pNN=TIME", help="Such as p95=300ms; not watched by default."),
            click.option("--min-calls", type=int, help="Calls of the new version that each step waits for."),
        )
    ):
        command = option(command)
    return sticky_options(command)


class _Starting(Group):
    """`wisp rollout NAME VERSION` begins, as `wisp rollout start` does."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if len(args) > 1 and args[0] not in self.commands and args[1][:1] in "vV0123456789":
            return "start", self.commands["start"], args
        return super().resolve_command(ctx, args)


@click.group(cls=_Starting)
def rollout() -> None:
    """Move `live` to a version step by step; it goes back by itself if the version does badly."""


@rollout.command()
@click.argument("name", shell_complete=function_names)
@click.argument("version")
@plan_options
@node_options
def start(where: Where, name: str, version: str, **plan: Any) -> None:
    """Begin: `wisp rollout start NAME VERSION --steps 5,25,50,100 --every 1m`."""
    document = plan_document(plan) | {"version": version_number(version)}
    with where.client() as client, suggesting(client, name):
        _print(where, client.start_rollout(name, document))


@rollout.command()
@click.argument("name", shell_complete=function_names)
@node_options
def status(where: Where, name: str) -> None:
    """Show how far the latest rollout is, or how it ended."""
    with where.client() as client, suggesting(client, name):
        _print(where, client.rollout(name))


@rollout.command()
@click.argument("name", shell_complete=function_names)
@node_options
def abort(where: Where, name: str) -> None:
    """Give all calls back to the old version."""
    with where.client() as client, suggesting(client, name):
        _print(where, client.end_rollout(name, "abort"))


@rollout.command()
@click.argument("name", shell_complete=function_names)
@node_options
def promote(where: Where, name: str) -> None:
    """Give all calls to the new version now."""
    with where.client() as client, suggesting(client, name):
        _print(where, client.end_rollout(name, "promote"))


def plan_document(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as the API wants them; what was not given is not in it."""
    document = {key: given[key] for key in ("every", "max_latency", "min_calls") if given.get(key) is not None}
    if given.get("steps") is not None:
        document["steps"] = steps_of(given["steps"])
    if given.get("max_errors") is not None:
        document["max_errors"] = None if given["max_errors"] == "off" else given["max_errors"]
    sticky = sticky_document(given)
    return document | ({"sticky": sticky} if sticky else {})


def steps_of(text: str) -> list[int]:
    """Return the percents of `5,25,50,100`. Raises: `Fault("invalid_argument")`."""
    words = [word.strip().removesuffix("%") for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 4 for word in words):
        raise Fault("invalid_argument", f"steps are {text!r}, they must be percents such as 5,25,50,100")
    return [int(word) for word in words]


def _print(where: Where, found: dict[str, Any]) -> None:
    if where.as_json:
        print_json(found)
        return
    state = found["state"].replace("_", " ")
    say(f"{found['function']} version {found['from']} → {found['to']}: {state}, {found['percent']} % of the calls")
    if found["state"] == "running":
        say(f"  step      {found['step']} of {', '.join(map(str, found['steps']))}, each {found['every_s']:g} s")
    if found["sticky"]:
        say(f"  sticky    {sticky_text(found['sticky'])}")
    for which, seen in (found["seen"] or {}).items():
        say(f"  {which:<9} {seen['calls']} calls in this step, {seen['failed']} failed")
    for key, label in (("waits_for", "waits for"), ("reason", "reason")):
        if found[key]:
            say(f"  {label:<9} {found[key]}")
