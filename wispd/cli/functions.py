"""`wisp list`, `wisp show` and `wisp delete`."""

from __future__ import annotations

from typing import Any, Final

import click

from wispd.cli.options import Where, node_options, suggesting
from wispd.cli.output import print_json, say, size_text, table
from wispd.cli.versions import parts_text, version_number

_SHOWN: Final = (
    *("number", "dialect", "handler", "runtime", "memory", "cpu", "timeout_s", "concurrency", "instances_min"),
    *("instances_max", "idle_s", "access", "network", "network_allow", "description", "created", "code", "layer"),
    "id",
)


@click.command("list")
@node_options
def list_functions(where: Where) -> None:
    """List the functions of a namespace."""
    with where.client() as client:
        functions = client.functions()
    if where.as_json:
        print_json({"items": functions, "next": None})
    elif not functions:
        say(f"no functions in namespace {where.namespace}; deploy one with `wisp deploy PATH`")
    else:
        rows = [_row(function) for function in functions]
        table(("name", "version", "dialect", "memory", "timeout", "updated", "url"), rows)


@click.command()
@click.argument("name")
@node_options
def show(where: Where, name: str) -> None:
    """Show one function and its live version."""
    with where.client() as client, suggesting(client, name):
        function = client.function(name)
    if where.as_json:
        print_json(function)
        return
    why = f": {function['disabled_reason']}" if function.get("disabled_reason") else ""
    say(f"{function['name']}  {function['url']}" + ("" if function["enabled"] else f"  (disabled{why})"))
    for alias, versions in function.get("aliases", {}).items():
        say(f"  {'alias':<14} {alias} → {parts_text(versions)}")
    for key in _SHOWN:
        value = function["live"].get(key)
        if value not in (None, "", [], {}):
            say(f"  {key:<14} {_memory(function['live']) if key == 'memory' else value}")
    for title, key in (("label", "labels"), ("env", "env")):
        for name_, value in sorted(function["live"].get(key, {}).items()):
            say(f"  {title:<14} {name_}={value}")
    for use in function["live"].get("secrets", []):
        say(f"  {'secret':<14} {use['name']}" + (f" as /run/secrets/{use['file']}" if use.get("file") else ""))
    entries = function["live"].get("entries", [])
    if entries:
        table(("entry point", "kind", "when", "options"), [_entry(entry) for entry in entries])


@click.command()
@click.argument("name")
@click.option("--version", help="Delete only this version, which no alias may point at.")
@node_options
def delete(where: Where, name: str, version: str | None) -> None:
    """Delete a function, or one version of it. Its records and usage stay."""
    with where.client() as client, suggesting(client, name):
        if version:
            client.delete_version(name, version_number(version))
        else:
            client.delete(name)
    what = f"{name} version {version_number(version)}" if version else name
    if where.as_json:
        print_json({"deleted": what})
    else:
        say(f"{what} is deleted")


def _row(function: dict[str, Any]) -> tuple[object, ...]:
    live = function["live"]
    timeout = f"{live['timeout_s']:g} s"
    updated = str(function["updated"])[:19].replace("T", " ")
    return function["name"], live["number"], live["dialect"], _memory(live), timeout, updated, function["url"]


def _entry(entry: dict[str, Any]) -> tuple[object, ...]:
    """Return one entry point of an App as a row."""
    route = f"{' '.join(entry.get('methods', ()))} {entry.get('path', '')}"
    when = route if entry["kind"] == "route" else entry.get("schedule") or entry.get("type", "")
    options = ", ".join(f"{key}={value}" for key, value in sorted(entry.get("options", {}).items()))
    return entry["name"], entry["kind"], when, options


def _memory(live: dict[str, Any]) -> str:
    return size_text(live["memory_bytes"]) if live["memory_bytes"] else "auto"
