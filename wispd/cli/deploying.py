"""`wisp deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from msgspec import structs

from wispd.base.errors import Fault
from wispd.cli.buildprogress import BuildProgress
from wispd.cli.completing import alias_names, function_names, secret_names
from wispd.cli.options import Where, node_options
from wispd.cli.output import print_json, say
from wispd.cli.projects import Wishes, deploy_address, deploy_project
from wispd.cli.rollouts import plan_document, plan_options
from wispd.cli.sources import opened


@click.command()
@click.argument("source", default=".", metavar="PATH")
@click.option(
    "--name",
    shell_complete=function_names,
    help="The function's name (else its App's, the folder's or file's, or those of wisp.toml).",
)
@click.option("--runtime", help="python3 (the node's own) or another minor version of the host: python3.12.")
@click.option("--handler", help="module:name (else found by inspection).")
@click.option("--dialect", help="app, native, lambda, asgi or wsgi (else found by inspection).")
@click.option("--memory", help='"auto", or a size such as 256MB.')
@click.option("--timeout", help="Such as 30s.")
@click.option("--concurrency", type=int, help="Events one instance carries at once.")
@click.option("--cpu", type=float, help="CPUs of an instance.")
@click.option("--env", multiple=True, metavar="K=V", help="A variable of the function's environment; repeatable.")
@click.option(
    "--secret",
    multiple=True,
    metavar="NAME[=FILE]",
    shell_complete=secret_names,
    help="A secret as variable, or as /run/secrets/FILE.",
)
@click.option("--network", type=click.Choice(["egress", "none", "private"]), help="What instances may reach.")
@click.option("--allow", multiple=True, metavar="ADDRESS:PORT", help="Opens an address of the host; repeatable.")
@click.option("--description", help="What the function is for.")
@click.option("--label", multiple=True, metavar="K=V", help="A label of the function; repeatable.")
@click.option("--access", type=click.Choice(["public", "token", "private"]), help="Who may call over HTTP.")
@click.option("--min", "instances_min", type=int, help="Instances kept warm.")
@click.option("--max", "instances_max", type=int, help="Instances at most.")
@click.option("--idle", help="How long an idle instance stays, such as 60s.")
@click.option("--layer", type=click.Path(path_type=Path), help="A folder of installed dependencies.")
@click.option("--dependencies", default="", metavar="FILE", help="What names the dependencies; none: there are none.")
@click.option("--refresh", is_flag=True, help="Resolve and build the dependencies anew.")
@click.option("--verbose", is_flag=True, help="Show what the build writes.")
@click.option(
    "--alias",
    default="live",
    show_default=True,
    shell_complete=alias_names,
    help="What is pointed at the version; live stays else.",
)
@click.option("--canary", is_flag=True, help="Move live to the version step by step (see `wisp rollout --help`).")
@plan_options
@click.option("--no-trial", is_flag=True, help="Go live without trying to start the version first.")
@node_options
def deploy(
    where: Where, source: str, *, name: str | None, layer: Path | None, verbose: bool, **given: Any
) -> None:  # fmt: skip
    """Deploy a folder, a single file, a zip, git+https://…@ref, or https://….zip#sha256=….

    Dependencies are found in uv.lock, pylock.toml, requirements.txt or pyproject.toml and built into a layer. The
    version is tried before it goes live.
    """
    wishes = Wishes(
        name=name,
        flags=document(given),
        layer=layer,
        dependencies=given["dependencies"],
        refresh=given["refresh"],
        trial=not given["no_trial"],
        alias=given["alias"],
        canary=_canary(given),
    )
    with where.client() as client, BuildProgress(verbose=verbose) as told, opened(source) as found:
        wishes = structs.replace(wishes, default_name=found.name)
        if found.url:
            deployed = deploy_address(client, found, wishes, told=told)
        else:
            deployed = deploy_project(client, found.path, wishes, told=told)
    _print(deployed, where)


def document(given: dict[str, Any]) -> dict[str, Any]:
    """Return the flags as keys of the function's document; what was not given is not in it."""
    plain = ("runtime", "handler", "dialect", "memory", "timeout", "concurrency", "cpu", "access", "description")
    wanted = {key: given[key] for key in plain if given.get(key) is not None}
    if given.get("env"):
        wanted["env"] = dict(_pair(text, "--env") for text in given["env"])
    if given.get("label"):
        wanted["labels"] = dict(_pair(text, "--label") for text in given["label"])
    if given.get("secret"):
        wanted["secrets"] = [_secret(text) for text in given["secret"]]
    network = {"mode": given.get("network"), "allow": list(given.get("allow") or ()) or None}
    instances = {"min": given.get("instances_min"), "max": given.get("instances_max"), "idle": given.get("idle")}
    for key, table in (("network", network), ("instances", instances)):
        known = {name: value for name, value in table.items() if value is not None}
        if known:
            wanted[key] = known
    return wanted


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise Fault("invalid_argument", f"{flag} {text!r} is not of the form NAME=VALUE")
    return name, value


def _canary(given: dict[str, Any]) -> dict[str, Any] | None:
    """Return how to roll out; None: not at all. Raises: `Fault("invalid_argument")`: these options exclude others."""
    plan = plan_document(given)
    if not given["canary"]:
        if plan:
            raise Fault("invalid_argument", f"--{next(iter(plan)).replace('_', '-')} belongs to --canary")
        return None
    if given["alias"] != "live":
        raise Fault("invalid_argument", "--canary moves live; it can't be given with --alias")
    return plan


def _secret(text: str) -> dict[str, str]:
    name, mark, file = text.partition("=")
    return {"name": name, "file": file} if mark else {"name": name}


def _print(deployed: list[dict[str, Any]], where: Where) -> None:
    if where.as_json:
        print_json(deployed[0] if len(deployed) == 1 else {"items": deployed, "next": None})
        return
    for function in deployed:
        live = function["live"]
        trial = function.get("trial", {})
        tried = f", starts in {trial['init_ms']:.1f} ms" if trial.get("ran") else ""
        dialect = live.get("dialect") or "handler"
        place = _place(function)
        say(f"{function['name']} version {function['version']} {place} ({dialect}{tried})\n  {function['url']}")


def _place(function: dict[str, Any]) -> str:
    """Return where a version can be reached, for people."""
    number = str(function["version"])
    if function.get("rollout"):
        return f"gets {function['rollout']['percent']} % of the calls"
    names = [alias for alias, versions in function["aliases"].items() if number in versions]
    if "live" in names:
        return "is live"
    return f"is {', '.join(names)}" if names else "is made; no alias points at it"
