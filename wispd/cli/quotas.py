"""`wisp quota`."""

from __future__ import annotations

from typing import Any, Final

import click

from wispd.cli.grouping import Group
from wispd.cli.options import Where, node_options
from wispd.cli.output import print_json, say, size_text, table

DEFAULT: Final = "default"  # the word that takes a limit off again


@click.group(cls=Group)
def quota() -> None:
    """Limit how much of the node a namespace may have."""


@quota.command("set")
@click.option("--functions", default="", help="Functions deployed at once.")
@click.option("--code", default="", help="Code of all versions that are kept, such as 1GB.")
@click.option("--concurrency", default="", help="Invocations in flight.")
@click.option("--requests-per-second", "requests_per_s", default="", help="Requests a second of one token.")
@click.option("--calls-per-minute", default="", help="Calls a minute of one function.")
@node_options
def set_quota(where: Where, **given: str) -> None:
    """Set what is given and leave the rest; `default` takes a limit off. 0 is a limit too."""
    document = {key: _value(key, text) for key, text in given.items() if text}
    if not document:
        raise click.UsageError("nothing to set; `wisp quota set --help` lists what can be")
    with where.client() as client:
        answer = client.change_quotas(document)
    _print(where, answer)


@quota.command("show")
@node_options
def show_quota(where: Where) -> None:
    """Show what a namespace may have, and how much it has."""
    with where.client() as client:
        answer = client.quotas()
    _print(where, answer)


def _value(key: str, text: str) -> str | int | None:
    if text == DEFAULT:
        return None
    if key == "code":
        return text
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise click.BadParameter(f"{text[:40]!r} is not a whole number, nor `{DEFAULT}`", param_hint=key)
    return int(text)


def _print(where: Where, answer: dict[str, Any]) -> None:
    if where.as_json:
        print_json(answer)
        return
    used = answer["used"]
    code = answer["code_bytes"]
    concurrency = f"{answer['concurrency']:,}" + (" (default)" if answer["concurrency_is_default"] else "")
    say(f"namespace {answer['namespace']}")
    table(
        ("what", "limit", "used"),
        (
            ("functions", _limit(answer["functions"]), used["functions"]),
            ("code", "no limit" if code is None else size_text(code), size_text(used["code_bytes"])),
            ("invocations in flight", concurrency, ""),
            ("requests a second of a token", _limit(answer["requests_per_s"]), ""),
            ("calls a minute of a function", _limit(answer["calls_per_minute"]), ""),
        ),
    )


def _limit(value: int | None) -> str:
    return "no limit" if value is None else f"{value:,}"
