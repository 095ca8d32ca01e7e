"""`wisp doctor`: what this host gives to sandboxes, what would give more, and the limits in force."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
from collections.abc import Iterable
from typing import Any, Final

import click
import msgspec

from wispd.adapters.engine.process import capabilities, remedies, runtimes
from wispd.adapters.engine.process.capabilities import Report
from wispd.adapters.engine.process.remedies import Remedy
from wispd.app import settings
from wispd.model.function import MEMORY_CAP, MEMORY_START, Version

SQLITE_FLOOR: Final = (3, 51, 3)  # earlier ones may corrupt a write-ahead log (sqlite.org/wal.html#walresetbug)
_COMMAND_TIMEOUT_S: Final = 60.0
_MEANINGS: Final = {
    "full": "functions are isolated from each other and from this host, and limited",
    "namespaces": "functions are isolated, but not everything is limited or separate",
    "process": "functions are not isolated: run only your own code",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option("--fix", is_flag=True, help="Show the exact commands that would raise the level.")
@click.option("--yes", is_flag=True, help="With --fix: run them (through sudo unless root).")
@click.option("--data", "data_dir", default=None, help="The node's data directory (its own limits are shown).")
def doctor(as_json: bool, fix: bool, yes: bool, data_dir: str | None) -> int:
    """Check what this host gives to sandboxes and print the limits.

    Exit code 0: functions can be isolated here. 1: they can't, or SQLite is too old. 2: wrong use.
    """
    if yes and not fix:
        raise click.UsageError("--yes says what to do with --fix; give both")
    limits = settings.load(data_dir or settings.default_data_dir(), {})
    report = capabilities.probe()
    if fix and yes:
        for one in _remedies(report):
            _apply(one)
        report = capabilities.probe()
    facts = examine(report, limits)
    if as_json:
        click.echo(json.dumps(facts | {"remedies": [_shown(one) for one in _remedies(report)] if fix else []}))
    else:
        _print(report, facts, fix=fix)
    return 0 if report.level.name != "process" and facts["sqlite"]["recent_enough"] else 1


def examine(report: Report, limits: settings.Settings) -> dict[str, Any]:
    """Return everything doctor knows, as JSON values."""
    import apsw

    version = apsw.sqlite_lib_version()
    return {
        "level": report.level.name,
        "reasons": list(report.level.reasons),
        "capabilities": report.to_json()["capabilities"],
        "kernel": report.kernel,
        "machine": report.machine,
        "uid": report.uid,
        "python": platform.python_version(),
        "runtimes": runtimes.available(),
        "sqlite": {"version": version, "recent_enough": _numbers(version) >= SQLITE_FLOOR},
        "limits": msgspec.to_builtins(limits.limits),
        "defaults": _defaults(),
    }


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _defaults() -> dict[str, Any]:
    """What a function gets that asks for nothing, from the model's own defaults."""
    names = ("timeout_s", "concurrency", "cpu", "instances_min", "instances_max", "idle_s", "network")
    version = Version(id="", namespace="", function="", number=0, code="", handler="")
    return {name: getattr(version, name) for name in names} | {
        "memory_bytes_from": MEMORY_START,
        "memory_bytes_to": MEMORY_CAP,
    }


def _remedies(report: Report) -> list[Remedy]:
    names = dict.fromkeys(row.remedy for row in report.capabilities if row.remedy)
    executable = runtimes.own_executable()
    return [remedies.remedy(name, executable=executable, root=report.uid == 0) for name in names]


def _shown(one: Remedy) -> dict[str, Any]:
    return {"name": one.id, "title": one.title, "lines": list(lines(one)), "note": one.note}


def lines(one: Remedy) -> Iterable[str]:
    """Yield what a person would type to do the same."""
    for path, content in one.files:
        if os.path.dirname(path).endswith(".d"):
            yield shlex.join(["sudo", "mkdir", "-p", os.path.dirname(path)])
        yield f"sudo tee {shlex.quote(path)} <<'END'\n{content}END"
    for command in one.commands:
        yield shlex.join(["sudo", *command])


def _apply(one: Remedy) -> None:
    """Do what `lines` shows. Stops with a message when a step fails."""
    if not one.runnable:
        click.echo(f"{one.title}: {one.note or 'nothing to run'}", err=True)
        return
    for path, content in one.files:
        _run(["mkdir", "-p", os.path.dirname(path)])
        _run(["tee", path], content)
    for command in one.commands:
        _run(list(command))
    click.echo(f"done: {one.title}{'; ' + one.note if one.note else ''}", err=True)


def _run(command: list[str], content: str = "") -> None:
    whole = command if os.geteuid() == 0 else ["sudo", *command]
    try:
        subprocess.run(  # noqa: S603 - our own argument list, no shell
            whole, input=content.encode(), stdout=subprocess.DEVNULL, check=True, timeout=_COMMAND_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise click.ClickException(f"{shlex.join(whole)}: {error}") from None


def _print(report: Report, facts: dict[str, Any], *, fix: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("capability", "", "needed for", "what was seen", box=None, pad_edge=False)
    for row in report.capabilities:
        mark = "[green]yes[/]" if row.present else "[red]no[/]" if row.required else "[yellow]no[/]"
        table.add_row(row.name, mark, "isolation" if row.required else "full", row.detail)
    console.print(table)
    console.print(f"\nlevel [bold]{report.level.name}[/]: {_MEANINGS[report.level.name]}")
    for reason in report.level.reasons:
        console.print(f"  - {reason}", markup=False)
    sqlite = facts["sqlite"]
    console.print(f"\nkernel {facts['kernel']} ({facts['machine']}), Python {facts['python']}", highlight=False)
    console.print(f"runtimes: {', '.join(facts['runtimes'])}", highlight=False)
    floor = ".".join(map(str, SQLITE_FLOOR))
    console.print(f"SQLite {sqlite['version']}{'' if sqlite['recent_enough'] else f': older than {floor}'}")
    _print_numbers(console, "limits", facts["limits"])
    _print_numbers(console, "defaults of a function", facts["defaults"])
    if fix:
        _print_remedies(console, _remedies(report))
    elif any(row.remedy for row in report.capabilities):
        console.print("\nwhat would raise it: wisp doctor --fix")


def _print_numbers(console: Any, title: str, values: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title, "", box=None, pad_edge=False)
    for name, value in values.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    console.print()
    console.print(table)


def _print_remedies(console: Any, found: list[Remedy]) -> None:
    for one in found:
        console.print(f"\n# {one.title}", markup=False, highlight=False)
        for line in lines(one):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        if one.note:
            console.print(f"# {one.note}", markup=False, highlight=False, soft_wrap=True)
    if not found:
        console.print("\nnothing is missing")
