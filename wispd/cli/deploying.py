"""`wisp deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wispd.base.errors import Fault
from wispd.cli import manifest
from wispd.cli.naming import default_name
from wispd.cli.options import Where, node_options
from wispd.cli.output import note, print_json, say
from wispd.client.node import NodeClient
from wispd.client.packing import pack


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option("--name", help="The function's name (else its App's, the folder's or file's, or those of wisp.toml).")
@click.option("--runtime", help="python3 (the node's own) or another minor version of the host: python3.12.")
@click.option("--handler", help="module:name (else found by inspection).")
@click.option("--dialect", help="app, native, lambda, asgi or wsgi (else found by inspection).")
@click.option("--memory", help='"auto", or a size such as 256MB.')
@click.option("--timeout", help="Such as 30s.")
@click.option("--concurrency", type=int, help="Events one instance carries at once.")
@click.option("--cpu", type=float, help="CPUs of an instance.")
@click.option("--env", multiple=True, metavar="K=V", help="A variable of the function's environment; repeatable.")
@click.option("--network", type=click.Choice(["egress", "none", "private"]), help="What instances may reach.")
@click.option("--allow", multiple=True, metavar="ADDRESS:PORT", help="Opens an address of the host; repeatable.")
@click.option("--access", type=click.Choice(["public", "token", "private"]), help="Who may call over HTTP.")
@click.option("--min", "instances_min", type=int, help="Instances kept warm.")
@click.option("--max", "instances_max", type=int, help="Instances at most.")
@click.option("--idle", help="How long an idle instance stays, such as 60s.")
@click.option("--layer", type=click.Path(path_type=Path), help="A folder of installed dependencies.")
@click.option("--no-trial", is_flag=True, help="Go live without trying to start the version first.")
@node_options
def deploy(where: Where, path: Path, name: str | None, layer: Path | None, no_trial: bool, **given: Any) -> None:
    """Deploy a folder, a single file or a zip. The version is tried before it goes live."""
    path = path.absolute()
    declared = manifest.read(path) if path.is_dir() else {}
    chosen = chosen_functions(path, declared, name)
    flags = document(given)
    with where.client() as client:
        with pack(path) as package:
            code = client.upload_package(package)
        layers: dict[Path, str] = {}
        deployed = []
        for function, table in chosen.items():
            wanted = merged(table, flags) | {"code": code}
            folder = layer or (path / wanted["layer"] if wanted.get("layer") else None)
            wanted.pop("layer", None)
            if folder is not None:
                wanted["layer"] = layers.get(folder) or layers.setdefault(folder, _layer(client, folder))
            if no_trial:
                wanted["trial"] = False
            deployed.append(client.deploy(function, wanted))
    _print(deployed, where)


def chosen_functions(path: Path, declared: dict[str, dict[str, Any]], name: str | None) -> dict[str, dict[str, Any]]:
    """Return which functions to deploy, with what the manifest says of each."""
    if not declared:
        return {name or default_name(path): {}}
    if name is None:
        return declared
    if name not in declared:
        raise Fault(
            "invalid_argument", f"{path / manifest.FILE_NAME} has no function {name!r}: {', '.join(declared)}"
        )
    return {name: declared[name]}


def document(given: dict[str, Any]) -> dict[str, Any]:
    """Return the flags as keys of the function's document; what was not given is not in it."""
    plain = ("runtime", "handler", "dialect", "memory", "timeout", "concurrency", "cpu", "access")
    wanted = {key: given[key] for key in plain if given.get(key) is not None}
    if given.get("env"):
        wanted["env"] = dict(_variable(text) for text in given["env"])
    network = {"mode": given.get("network"), "allow": list(given.get("allow") or ()) or None}
    instances = {"min": given.get("instances_min"), "max": given.get("instances_max"), "idle": given.get("idle")}
    for key, table in (("network", network), ("instances", instances)):
        known = {name: value for name, value in table.items() if value is not None}
        if known:
            wanted[key] = known
    return wanted


def merged(table: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest's table with the flags over it, key by key in nested tables."""
    result = dict(table)
    for key, value in flags.items():
        below = result.get(key)
        result[key] = below | value if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _variable(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise Fault("invalid_argument", f"--env {text!r} is not of the form NAME=VALUE")
    return name, value


def _layer(client: NodeClient, folder: Path) -> str:
    if not folder.is_dir():
        raise Fault("not_found", f"the layer {folder} is not a folder")
    note(f"uploading the layer {folder}")
    with pack(folder, layer=True) as package:
        return client.upload_layer(package)


def _print(deployed: list[dict[str, Any]], where: Where) -> None:
    if where.as_json:
        print_json(deployed[0] if len(deployed) == 1 else {"items": deployed, "next": None})
        return
    for function in deployed:
        live = function["live"]
        trial = function.get("trial", {})
        tried = f", starts in {trial['init_ms']:.1f} ms" if trial.get("ran") else ""
        dialect = live.get("dialect") or "handler"
        say(f"{function['name']} version {live['number']} is live ({dialect}{tried})\n  {function['url']}")
