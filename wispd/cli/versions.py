"""`wisp versions`, `wisp alias`, `wisp rollback`, `wisp enable` and `wisp disable`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from wispd.base.errors import Fault
from wispd.cli.completing import alias_names, function_names
from wispd.cli.grouping import Group
from wispd.cli.options import Where, node_options, suggesting
from wispd.cli.output import print_json, say, table

_WEIGHT: Final = re.compile(r"[vV]?([0-9]{1,15})=([0-9]{1,5})%?", re.ASCII)
_VERSION: Final = re.compile(r"[vV]?([0-9]{1,15})", re.ASCII)


def sticky_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that keep callers with a version."""
    for option in (
        click.option("--issue-cookie", metavar="NAME", help="… of a cookie that the gateway gives them."),
        click.option("--cookie", help="… with the same value of this cookie."),
        click.option("--header", help="Callers with the same value of this header stay with a version."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("name", shell_complete=function_names)
@click.option("--history", "with_history", is_flag=True, help="What each alias pointed at, when, why and by whom.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@node_options
def versions(where: Where, name: str, with_history: bool, limit: int) -> None:
    """List the versions of a function that are kept, the newest first."""
    with where.client() as client, suggesting(client, name):
        page = client.history(name, limit=limit) if with_history else client.versions(name, limit=limit)
    if where.as_json:
        print_json(page)
    elif with_history:
        table(("at", "alias", "points at", "why", "by"), [_change_row(one) for one in page["items"]])
    else:
        table(
            ("version", "aliases", "dialect", "created", "by", "code"), [_version_row(one) for one in page["items"]]
        )


@click.group(cls=Group)
def alias() -> None:
    """Names for versions, beside `live`: point them, divide calls, delete them."""


@alias.command("set")
@click.argument("name", shell_complete=function_names)
@click.argument("alias_name", metavar="ALIAS", shell_complete=alias_names)
@click.argument("weights", nargs=-1, required=True, metavar="VERSION[=WEIGHT]...")
@sticky_options
@node_options
def set_alias(where: Where, name: str, alias_name: str, weights: tuple[str, ...], **given: str | None) -> None:
    """Point ALIAS at a version, or divide its calls: `wisp alias set NAME live 3=90 4=10`."""
    sticky = sticky_document(given)
    with where.client() as client, suggesting(client, name):
        found = client.set_alias(name, alias_name, weights_of(weights), sticky)
    if where.as_json:
        print_json(found)
    else:
        say(f"{name}:{found['alias']} → {parts_text(found['versions'])}\n  {found['url']}")


@alias.command("list")
@click.argument("name", shell_complete=function_names)
@node_options
def list_aliases(where: Where, name: str) -> None:
    """List the aliases of a function."""
    with where.client() as client, suggesting(client, name):
        found = client.aliases(name)
    if where.as_json:
        print_json({"items": found, "next": None})
        return
    rows = [
        (one["alias"], parts_text(one["versions"]), sticky_text(one["sticky"]), _time(one["updated"]), one["url"])
        for one in found
    ]
    table(("alias", "points at", "sticky", "updated", "url"), rows)


@alias.command("delete")
@click.argument("name", shell_complete=function_names)
@click.argument("alias_name", metavar="ALIAS", shell_complete=alias_names)
@node_options
def delete_alias(where: Where, name: str, alias_name: str) -> None:
    """Delete an alias. The versions stay."""
    with where.client() as client, suggesting(client, name):
        client.delete_alias(name, alias_name)
    if where.as_json:
        print_json({"deleted": f"{name}:{alias_name}"})
    else:
        say(f"{name}:{alias_name} is deleted")


@click.command()
@click.argument("name", shell_complete=function_names)
@click.argument("version", required=False)
@node_options
def rollback(where: Where, name: str, version: str | None) -> None:
    """Go back to the version that was live before, or to VERSION. Running calls finish where they are."""
    with where.client() as client, suggesting(client, name):
        found = client.rollback(name, version_number(version) if version else None)
    if where.as_json:
        print_json(found)
    else:
        was = f" (it was version {found['before']})" if found.get("before") else ""
        say(f"{name} version {found['live']['number']} is live{was}\n  {found['url']}")


@click.command()
@click.argument("name", shell_complete=function_names)
@node_options
def enable(where: Where, name: str) -> None:
    """Let calls of a function in again."""
    _enable(where, name, enabled=True, reason="")


@click.command()
@click.argument("name", shell_complete=function_names)
@click.option("--reason", default="", help="What callers are told.")
@node_options
def disable(where: Where, name: str, reason: str) -> None:
    """Refuse new calls of a function with 409; running ones finish."""
    _enable(where, name, enabled=False, reason=reason)


def _enable(where: Where, name: str, *, enabled: bool, reason: str) -> None:
    with where.client() as client, suggesting(client, name):
        found = client.enable(name, enabled=enabled, reason=reason)
    if where.as_json:
        print_json(found)
    elif enabled:
        say(f"{name} is enabled")
    else:
        say(f"{name} is disabled: new calls get 409; `wisp enable {name}` lets them in again")


def version_number(text: str) -> int:
    """Return the number of `3` or `v3`. Raises: `Fault("invalid_argument")`."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise Fault("invalid_argument", f"{text!r} is no version; `wisp versions NAME` lists them by number")
    return int(found[1])


def weights_of(texts: tuple[str, ...]) -> dict[str, int]:
    """Return version → weight of `3=90 4=10`, or of one version alone."""
    if len(texts) == 1 and _VERSION.fullmatch(texts[0]):
        return {str(version_number(texts[0])): 100}
    weights: dict[str, int] = {}
    for text in texts:
        found = _WEIGHT.fullmatch(text)
        if found is None:
            raise Fault("invalid_argument", f"{text!r} is not of the form VERSION=WEIGHT, such as 3=90")
        if found[1] in weights:
            raise Fault("invalid_argument", f"version {found[1]} is named twice")
        weights[found[1]] = int(found[2])
    return weights


def sticky_document(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how callers stay with a version, as the API wants it."""
    header, cookie, issued = (given.get(key) for key in ("header", "cookie", "issue_cookie"))
    if sum(1 for text in (header, cookie, issued) if text) > 1:
        raise Fault("invalid_argument", "give one of --header, --cookie and --issue-cookie")
    if issued:
        return {"cookie": issued, "issue": True}
    return {"header": header} if header else {"cookie": cookie} if cookie else None


def parts_text(versions: dict[str, int]) -> str:
    """Return what an alias points at, for people."""
    if len(versions) == 1:
        return f"version {next(iter(versions))}"
    total = sum(versions.values()) or 1
    return ", ".join(f"version {number} {100 * weight / total:g} %" for number, weight in versions.items())


def sticky_text(sticky: dict[str, Any] | None) -> str:
    """Return what keeps callers with a version, for people."""
    if not sticky:
        return ""
    if sticky.get("header"):
        return f"header {sticky['header']}"
    return f"cookie {sticky['cookie']}" + (" (issued)" if sticky.get("issue") else "")


def _version_row(version: dict[str, Any]) -> tuple[object, ...]:
    pointing = ", ".join(name if part == 100 else f"{name} {part:g} %" for name, part in version["aliases"].items())
    created, by = _time(version["created"]), version["created_by"]
    return version["number"], pointing, version.get("dialect", ""), created, by, version["code"][:12]


def _change_row(change: dict[str, Any]) -> tuple[object, ...]:
    pointed = parts_text(change["versions"]) if change["versions"] else "nothing: deleted"
    return _time(change["at"]), change["alias"], pointed, change["why"], change["by"]


def _time(text: object) -> str:
    return str(text)[:19].replace("T", " ")
