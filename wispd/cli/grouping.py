"""Groups of commands: what a mistyped word meant, and commands that are imported only when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import click

NEAR: Final = 0.5  # how alike a word must be to be suggested; 1 is the same
Row = tuple[str, str, str]  # module, attribute, one line of help


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that was probably meant; "" when none is near."""
    import difflib

    found = difflib.get_close_matches(word.lower(), list(known), 1, NEAR)
    return found[0] if found else ""


class Group(click.Group):
    """A group that lists its commands in the order they were written, and knows what a mistyped one meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0] if args else ""
        known = self.list_commands(ctx)
        if word and word not in known and not word.startswith("-"):
            near = nearest(word, known)
            hint = f"did you mean `{ctx.command_path} {near}`?" if near else f"`{ctx.command_path} --help` lists them"
            raise click.UsageError(f"there is no command {word!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group whose commands are rows of a table, shown by topic. `rows` and `topics` are set on the class."""

    rows: Mapping[str, Row]
    topics: Mapping[str, Sequence[str]]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.rows:
            return None
        module, attribute, _ = self.rows[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.rows))
        for title, names in self.topics.items():
            listed = [(name.ljust(width), self.rows[name][2]) for name in names if name in self.rows]
            if listed:
                with formatter.section(title):
                    formatter.write_dl(listed)
