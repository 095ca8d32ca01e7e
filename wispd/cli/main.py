"""`wisp`: the command line. Commands are imported when they are used, so that `wisp --help` is quick."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Final

import click

from wispd.base.errors import Fault
from wispd.cli.failures import INTERRUPTED, report, report_usage
from wispd.cli.output import note

# name → (module, attribute, one line of help)
COMMANDS: Final = {
    "up": ("wispd.cli.node", "up", "Start a node."),
    "down": ("wispd.cli.node", "down", "Stop the node; running calls finish first."),
    "status": ("wispd.cli.status", "status", "Show the node, its processes and its functions."),
    "doctor": ("wispd.cli.doctor", "doctor", "Check what this host gives to sandboxes."),
    "deploy": ("wispd.cli.deploying", "deploy", "Deploy a folder, a file or a zip."),
    "list": ("wispd.cli.functions", "list_functions", "List functions."),
    "show": ("wispd.cli.functions", "show", "Show one function."),
    "invoke": ("wispd.cli.invoking", "invoke", "Invoke a function and print its answer."),
    "delete": ("wispd.cli.functions", "delete", "Delete a function."),
    "logs": ("wispd.cli.records", "logs", "Print what functions wrote."),
    "invocation": ("wispd.cli.records", "invocation", "Show the record of one run, or of many."),
    "usage": ("wispd.cli.records", "usage", "Show what ran and what it costs."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is named, and knows what a mistyped one meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, 1, 0.5)
            hint = f"; did you mean `wisp {near[0]}`?" if near else "; `wisp --help` lists them"
            raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="wisp", message="wisp %(version)s")
def wisp() -> None:
    """Functions on your own machine: write code, deploy it, call it.

    Exit codes: 0 it worked, 1 the function failed, 2 wrong use, 3 not found, 4 refused or over a limit, 5 no node
    reached, 6 the platform failed.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code. A mistake of the user never shows a stack trace."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        code = wisp.main(given, prog_name="wisp", standalone_mode=False)
    except Fault as fault:
        return report(fault, as_json=as_json)
    except click.ClickException as error:
        return report_usage(error, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # `wisp logs | head`
        sys.stderr.close()
        return 0
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
