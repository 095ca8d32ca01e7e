"""`wisp build show` and `wisp build list`."""

from __future__ import annotations

import click

from wispd.cli.grouping import Group
from wispd.cli.options import Where, node_options
from wispd.cli.output import print_json, say, table
from wispd.client import builds


@click.group(cls=Group)
def build() -> None:
    """Look at builds: what was made of a project's dependencies and steps."""


@build.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most.")
@node_options
def list_builds(where: Where, limit: int) -> None:
    """List builds, newest first."""
    with where.client() as client:
        page = builds.page(client, limit=str(limit))
    if where.as_json:
        print_json(page)
    elif not page["items"]:
        say(f"no builds in namespace {where.namespace}; `wisp deploy` makes one where a project has dependencies")
    else:
        rows = [
            (one["id"], one["status"], one["source"], one["created"][:19], one["message"][:60])
            for one in page["items"]
        ]
        table(("build", "status", "from", "created", ""), rows)


@build.command()
@click.argument("build_id", metavar="ID")
@node_options
def show(where: Where, build_id: str) -> None:
    """Show one build, with what it wrote."""
    with where.client() as client:
        found = builds.show(client, build_id)
    if where.as_json:
        print_json(found)
        return
    say(f"{found['id']}  {found['status']}  {found['created'][:19]}")
    for key in ("source", "message", "layer", "code"):
        if found.get(key):
            say(f"{key:<9} {found[key]}")
    if found["packages"]:
        say(f"packages  {', '.join(found['packages'])}")
    if found["log"]:
        say()
        say(found["log"].rstrip())
