"""`wisp secret`."""

from __future__ import annotations

import sys

import click

from wispd.base.errors import Fault
from wispd.cli.completing import secret_names
from wispd.cli.grouping import Group
from wispd.cli.options import Where, node_options
from wispd.cli.output import note, print_json, say, table
from wispd.client import secrets
from wispd.model.secret import VALUE_BYTES_MAX


@click.group(cls=Group)
def secret() -> None:
    """Set, list and delete secrets. A value is read from standard input, never from the command line."""


@secret.command("set")
@click.argument("name", shell_complete=secret_names)
@click.option("--exact", is_flag=True, help="Keep the newline at the end of the input.")
@node_options
def set_secret(where: Where, name: str, exact: bool) -> None:
    """Set a secret. Piped: standard input is the value; on a terminal: you are asked for it."""
    value = _read_value(name, exact=exact)
    with where.client() as client:
        stored = secrets.put(client, name, value)
    if where.as_json:
        print_json(stored)
    else:
        say(f"secret {name} is set (version {stored['version']})")


@secret.command("list")
@node_options
def list_secrets(where: Where) -> None:
    """List the secrets of a namespace. Values are never shown."""
    with where.client() as client:
        found = secrets.listed(client)
    if where.as_json:
        print_json({"items": found, "next": None})
    elif not found:
        say(f"no secrets in namespace {where.namespace}; set one with `wisp secret set NAME`")
    else:
        rows = [(one["name"], one["version"], str(one["updated"])[:19].replace("T", " ")) for one in found]
        table(("name", "version", "updated"), rows)


@secret.command("delete")
@click.argument("name", shell_complete=secret_names)
@click.option("--force", is_flag=True, help="Even when functions use it: they can't start without it.")
@node_options
def delete_secret(where: Where, name: str, force: bool) -> None:
    """Delete a secret."""
    with where.client() as client:
        secrets.delete(client, name, force=force)
    if where.as_json:
        print_json({"deleted": name})
    else:
        say(f"secret {name} is deleted")


@secret.command("rotate-key")
@node_options
def rotate_key(where: Where) -> None:
    """Seal all secrets with a new master key, while calls go on. The former key is forgotten."""
    with where.client() as client:
        done = secrets.rotate_key(client)
    if where.as_json:
        print_json(done)
        return
    say(f"{done['rewrapped']} secrets are sealed with the new key {done['key_id']}")
    if done["kept"]:
        note("warning: the gateway did not answer, so the former key stays in the key file; run this again")


def _read_value(name: str, *, exact: bool) -> bytes:
    if sys.stdin.isatty():
        text: str = click.prompt(f"value of {name}", hide_input=True, confirmation_prompt=True, err=True)
        return text.encode()
    value = sys.stdin.buffer.read()
    if not exact:
        value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise Fault("invalid_argument", f"standard input is empty: pipe the value of {name} in")
    if len(value) > VALUE_BYTES_MAX:
        raise Fault("payload_too_large", f"the value of {name} is {len(value)} bytes, limit {VALUE_BYTES_MAX}")
    return value
