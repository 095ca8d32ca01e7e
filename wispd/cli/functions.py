"""`wisp list`, `wisp show` and `wisp delete`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from wispd.cli.completing import function_names
from wispd.cli.options import Where, node_options, suggesting
from wispd.cli.output import ago, facts, print_json, say, size_text, styled, table
from wispd.cli.versions import parts_text, version_number


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
        least = ("timeout", "memory", "dialect", "updated", "version")
        table(("name", "version", "dialect", "memory", "timeout", "updated", "url"), rows, least=least)


@click.command()
@click.argument("name", shell_complete=function_names)
@node_options
def show(where: Where, name: str) -> None:
    """Show one function and its live version."""
    with where.client() as client, suggesting(client, name):
        function = client.function(name)
    if where.as_json:
        print_json(function)
        return
    live = function["live"]
    why = f": {function['disabled_reason']}" if function.get("disabled_reason") else ""
    disabled = [] if function["enabled"] else [(f"  disabled{why}", "bold yellow")]
    styled((function["name"], "bold"), ("  ", ""), (function["url"], "cyan"), *disabled)
    aliases = [("alias", f"{alias} → {parts_text(parts)}") for alias, parts in function.get("aliases", {}).items()]
    facts([*aliases, *_described(live)])
    entries = live.get("entries", [])
    if entries:
        say()
        table(("entry point", "kind", "when", "options"), [_entry(entry) for entry in entries], least=("options",))


@click.command()
@click.argument("name", shell_complete=function_names)
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
    state = function["name"] if function["enabled"] else f"{function['name']} (disabled)"
    return state, live["number"], live["dialect"], _memory(live), timeout, ago(function["updated"]), function["url"]


def _described(live: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "version", f"{live['number']}, deployed {ago(live['created'])}"
    yield "handler", " ".join(filter(None, (live["handler"] or "found by inspection", f"({live['dialect']})")))
    yield "runtime", live["runtime"]
    yield "memory", _memory(live)
    yield "cpu", f"{live['cpu']:g}"
    yield "timeout", f"{live['timeout_s']:g} s"
    yield "concurrency", f"{live['concurrency']} per instance"
    yield "instances", f"{live['instances_min']} to {live['instances_max']}, idle ones end after {live['idle_s']:g} s"
    yield "access", live["access"] or "public on this machine, else by token"
    yield "network", " ".join([live["network"], *(f"+{address}" for address in live["network_allow"])])
    yield "routes", ", ".join(" ".join(filter(None, route)) for route in live["routes"])
    yield "description", live["description"]
    yield "labels", ", ".join(f"{key}={value}" for key, value in sorted(live["labels"].items()))
    for key, value in sorted(live.get("env", {}).items()):
        yield "env", f"{key}={value}"
    for use in live.get("secrets", []):
        yield "secret", use["name"] + (f" as /run/secrets/{use['file']}" if use.get("file") else "")
    yield "code", live["code"][:12]
    yield "layer", live["layer"][:12]


def _entry(entry: dict[str, Any]) -> tuple[object, ...]:
    """Return one entry point of an App as a row."""
    route = f"{' '.join(entry.get('methods', ()))} {entry.get('path', '')}"
    when = route if entry["kind"] == "route" else entry.get("schedule") or entry.get("type", "")
    options = ", ".join(f"{key}={value}" for key, value in sorted(entry.get("options", {}).items()))
    return entry["name"], entry["kind"], when, options


def _memory(live: dict[str, Any]) -> str:
    return size_text(live["memory_bytes"]) if live["memory_bytes"] else "auto"
