"""`wisp status`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from wispd.app import settings
from wispd.base.errors import Fault
from wispd.cli.amounts import money
from wispd.cli.options import Where, node_options
from wispd.cli.output import facts, note, print_json, say, size_text, styled, table

_NONE = {"ready": 0, "busy": 0, "starting": 0}


@click.command()
@node_options
def status(where: Where) -> None:
    """Show the node: where it is, its processes, its functions and their instances."""
    from wispd.app.directory import holder_of

    local = _local(where)
    if local.get("state") not in (None, "ended") and not holder_of(_folder(where)):
        text = f"the node on {_folder(where)} was killed, nothing runs there; `wisp up` starts it again"
        raise Fault("unavailable", text)
    try:
        with where.client() as client:
            told = client.status()
            functions = client.functions()
    except Fault as fault:
        if fault.code != "unavailable" or local.get("state") in (None, "ended"):
            raise
        told, functions = {"gateway": {"reachable": False}, "error": fault.message}, []
    document = composed(local, told, functions)
    if where.as_json:
        print_json(document)
        return
    _print(document)


def composed(local: dict[str, Any], told: dict[str, Any], functions: list[dict[str, Any]]) -> dict[str, Any]:
    """Join what the supervisor wrote with what control and the gateway tell."""
    gateway = dict(told.get("gateway", {}))
    pools = {(pool["namespace"], pool["name"]): pool for pool in gateway.pop("functions", [])}
    rows = []
    for function in functions:
        pool = pools.get((function["namespace"], function["name"]), {})
        shown = {key: function[key] for key in ("name", "namespace", "url", "enabled")}
        rows.append(
            shown
            | {"version": function["live"]["number"], "instances": pool.get("instances", dict(_NONE))}
            | {"waiting": pool.get("waiting", 0)}
        )
    rest = {key: value for key, value in told.items() if key not in ("gateway", "functions")}
    return local | rest | {"gateway": gateway, "functions": rows}


def _folder(where: Where) -> Path:
    return Path(where.data_dir or settings.default_data_dir())


def _local(where: Where) -> dict[str, Any]:
    url, _ = settings.remote()
    if url and not where.data_dir:
        return {}
    try:
        found = msgspec.json.decode((_folder(where) / "run" / "status.json").read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _print(document: dict[str, Any]) -> None:
    state = str(document.get("state", "reachable"))
    styled(("● ", "green" if state in ("ready", "reachable") else "yellow"), (state, "bold"))
    facts(_described(document))
    if document.get("error"):
        note(f"warning: {document['error']}")
    if document.get("store", {}).get("message"):
        note(f"warning: no changes are taken until the node is restarted: {document['store']['message']}")
    if document.get("processes"):
        rows = [
            (
                one["name"],
                one["pid"] or "-",
                "ready" if one["ready"] else "not ready",
                one["restarts"],
                one["last_end"],
            )
            for one in document["processes"]
        ]
        say()
        table(("process", "pid", "state", "restarts", "last end"), rows, least=("last end", "restarts"))
    for budget in document["gateway"].get("budgets", []):
        say(f"  budget     {budget_state(budget)}")
    if document["functions"]:
        functions = [
            (one["name"], one["version"], *(one["instances"][key] for key in _NONE), one["waiting"])
            for one in document["functions"]
        ]
        say()
        titles = ("function", "version", "ready", "busy", "starting", "waiting")
        table(titles, functions, least=("version", "starting", "waiting"))
    elif not document.get("error"):
        say("\nno functions yet; `wisp init NAME` makes one, `wisp deploy` puts it here")


def _described(document: dict[str, Any]) -> Iterator[tuple[str, object]]:
    gateway = document["gateway"]
    memory = gateway.get("memory")
    yield "functions", document.get("public_url")
    yield "admin", document.get("admin_url")
    yield "data", document.get("data_dir")
    yield "isolation", gateway.get("level")
    if memory:
        yield "memory", f"{size_text(memory['reserved_bytes'])} of {size_text(memory['budget_bytes'])} reserved"
    if document.get("uptime_s"):
        yield "up", duration_text(document["uptime_s"])
    yield "version", document.get("version")
    yield "node", document.get("node_id")


def duration_text(seconds: float) -> str:
    """Return a time span in its two largest units."""
    parts = []
    for unit_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(int(seconds), unit_s)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def budget_state(budget: dict[str, Any]) -> str:
    """Return how a budget stands, in one line."""
    whose = budget["function"] or f"namespace {budget['namespace']}"
    if not budget["known"]:
        return f"{whose}: what is spent is being added up"
    spent, limit = money(budget["spent_micro"]), money(budget["limit_micro"])
    return f"{whose}: {spent} of {limit} this {budget['period']}, {budget['state']}; resets {budget['resets']}"
