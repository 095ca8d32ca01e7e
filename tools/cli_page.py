"""Make docs/cli.md from the commands themselves: every command, argument and option, and the exit codes."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Final

import click

from wispd.cli.failures import EXIT_CODES
from wispd.cli.main import TOPICS, wisp

HEAD: Final = """# The command line

<!-- Made from wispd/cli by tools/reference.py; edits here are lost. -->

`wisp --help` and `wisp COMMAND --help` say the same. A local node is found by `--data DIR` or `WISP_DATA` (else the
usual place), a remote one by `WISP_URL` and `WISP_TOKEN`. Results go to standard output; progress, warnings and
errors to standard error. With `--json`, standard output is exactly one JSON document, or one per line for commands
that go on (`run`, `dev`, `logs`); a list is `{"items": […], "next": …}`, an error
`{"error": {"code": …, "message": …}}`. Colours are left out where standard output is no terminal, and where
`NO_COLOR` is set.

## Exit codes

| code | meaning |
|---|---|
"""


def cli_page() -> str:
    """Return the page."""
    codes = "".join(f"| {code} | {text} |\n" for code, text in EXIT_CODES.items())
    return HEAD + codes + "\n".join(_topics()) + "\n"


def _topics() -> Iterator[str]:
    context = click.Context(wisp, info_name="wisp")
    for title, names in TOPICS.items():
        known = [name for name in names if name in wisp.list_commands(context)]
        if known:
            yield f"\n## {title}"
        for name in known:
            command = wisp.get_command(context, name)
            assert command is not None
            yield from _command(command, click.Context(command, parent=context, info_name=name))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _command(below, click.Context(below, parent=context, info_name=name))
        return
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"\n### `{context.command_path}`\n\n```\n{usage}\n```\n\n{_text(command.help or '')}"
    rows = [row for parameter in command.get_params(context) if (row := _row(parameter, context))]
    if rows:
        yield "\n| option | what it does |\n|---|---|\n" + "\n".join(rows)


def _row(parameter: click.Parameter, context: click.Context) -> str:
    record = parameter.get_help_record(context)
    if record is None or "--help" in parameter.opts or not record[1]:
        return ""
    name, text = record
    return f"| `{_escaped(name)}` | {_escaped(text)} |"


def _text(help_text: str) -> str:
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(help_text))
    return "\n\n".join(textwrap.fill(" ".join(paragraph.split()), 118) for paragraph in paragraphs)


def _escaped(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
