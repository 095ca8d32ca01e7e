"""`wisp token`, `wisp namespace` and `wisp audit`."""

from __future__ import annotations

from typing import Any, Final

import click

from wispd.cli.grouping import Group
from wispd.cli.options import Where, node_options
from wispd.cli.output import note, print_json, say, table
from wispd.client.access import AuditLog, Namespaces, Tokens

ROLES: Final = ("admin", "deployer", "invoker", "viewer")
BROKEN: Final = 6  # exit code of a log that does not verify: the platform failed
_of_node = click.option("--node", "of_node", is_flag=True, help="Of the whole node instead of one namespace.")


@click.group(cls=Group)
def token() -> None:
    """Create, list and revoke tokens: who may do what, in which namespace."""


@token.command("create")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@click.option("--name", default="", help="For people: who or what uses it.")
@click.option("--expires", default="", help="Such as 30d or 12h; without it, never.")
@_of_node
@node_options
def create_token(where: Where, role: str, name: str, expires: str, of_node: bool) -> None:
    """Create a token and print it, this once. It is kept nowhere but as a hash."""
    with where.client() as client:
        made = Tokens(client, of_node=of_node).create(role, name=name, expires=expires)
    if where.as_json:
        print_json(made)
        return
    say(made["token"])
    reach = "the whole node" if of_node else f"namespace {where.namespace}"
    note(f"{role} of {reach}, id {made['id']}, expires {made['expires'] or 'never'}. It is not shown again.")


@token.command("list")
@_of_node
@node_options
def list_tokens(where: Where, of_node: bool) -> None:
    """List tokens that are not revoked, without their texts."""
    with where.client() as client:
        tokens = Tokens(client, of_node=of_node).list()
    if where.as_json:
        print_json({"items": tokens, "next": None})
        return
    keys = ("id", "role", "name", "created", "expires")
    table(keys, [[str(one[key] or "never")[:36] for key in keys] for one in tokens])


@token.command("revoke")
@click.argument("token_id")
@_of_node
@node_options
def revoke_token(where: Where, token_id: str, of_node: bool) -> None:
    """Revoke a token by its id: it is refused from now on."""
    with where.client() as client:
        Tokens(client, of_node=of_node).revoke(token_id)
    if where.as_json:
        print_json({"revoked": token_id})
    else:
        say(f"{token_id} is revoked")


@click.group(cls=Group)
def namespace() -> None:
    """Create, list and delete namespaces: tenants with functions, limits and tokens of their own."""


@namespace.command("create")
@click.argument("name")
@node_options
def create_namespace(where: Where, name: str) -> None:
    """Create a namespace."""
    with where.client() as client:
        made = Namespaces(client).create(name)
    if where.as_json:
        print_json(made)
    else:
        say(f"namespace {name} is there; `wisp token create --role deployer -n {name}` lets somebody in")


@namespace.command("list")
@node_options
def list_namespaces(where: Where) -> None:
    """List the namespaces that the token reaches."""
    with where.client() as client:
        found = Namespaces(client).list()
    if where.as_json:
        print_json({"items": found, "next": None})
    else:
        table(("name", "created"), [(one["name"], _created(one)) for one in found])


@namespace.command("show")
@click.argument("name")
@node_options
def show_namespace(where: Where, name: str) -> None:
    """Show one namespace."""
    with where.client() as client:
        found = Namespaces(client).show(name)
    if where.as_json:
        print_json(found)
    else:
        say(f"{found['name']}  created {_created(found)}")


@namespace.command("delete")
@click.argument("name")
@node_options
def delete_namespace(where: Where, name: str) -> None:
    """Delete a namespace that has no functions. Its tokens are revoked."""
    with where.client() as client:
        Namespaces(client).delete(name)
    if where.as_json:
        print_json({"deleted": name})
    else:
        say(f"namespace {name} is deleted")


@click.group(cls=Group)
def audit() -> None:
    """Who changed what, and who was refused: a log whose entries are chained by hashes."""


@audit.command("list")
@click.option("--outcome", type=click.Choice(("done", "denied", "failed")), help="Only these.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many, newest first."
)
@_of_node
@node_options
def list_audit(where: Where, outcome: str | None, limit: int, of_node: bool) -> None:
    """List entries, newest first: of a namespace, or with --node of everything."""
    with where.client() as client:
        entries = AuditLog(client, of_node=of_node).list(outcome=outcome or "", limit=limit)
    if where.as_json:
        print_json({"items": entries, "next": None})
        return
    table(
        ("seq", "time", "outcome", "operation", "target", "namespace", "who", "code"), [_row(one) for one in entries]
    )


@audit.command("verify")
@click.option("--head", default="", help="What an earlier verification printed: finds a log whose end was cut off.")
@node_options
def verify_audit(where: Where, head: str) -> int:
    """Check the whole chain of hashes. Keep the head it prints somewhere else. Exit code 6: the chain is broken."""
    with where.client() as client:
        verdict = AuditLog(client, of_node=True).verify(head)
    if where.as_json:
        print_json(verdict)
    elif verdict["broken"]:
        say(f"BROKEN at entry {verdict['broken']}: {verdict['why']}")
    else:
        say(f"{verdict['entries']} entries, the chain holds. Head:\n{verdict['head']}")
    return BROKEN if verdict["broken"] else 0


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    who = one["token_name"] or one["token_id"] or "nobody"
    repeated = f" (+{one['unsaid']} like it)" if one["unsaid"] else ""
    operation = one["operation"].replace("/namespaces/{namespace}/", "").lstrip("/")
    return (
        one["seq"], one["time"][:19], one["outcome"] + repeated, operation, one["target"], one["namespace"] or "",
        f"{who} ({one['role']})" if one["role"] else who, one["code"],
    )  # fmt: skip


def _created(namespace: dict[str, Any]) -> str:
    """Return when a namespace was made; the first one has always been there."""
    text = str(namespace["created"])[:19].replace("T", " ")
    return "with the node" if text.startswith("1970-01-01") else text
