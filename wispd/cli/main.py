"""`wisp`: the command line. Commands are imported when they are used, so that `wisp --help` is quick."""

from __future__ import annotations

import sys
from typing import Final

import click

from wispd.base.errors import Fault
from wispd.cli.failures import INTERRUPTED, report, report_usage
from wispd.cli.grouping import LazyGroup
from wispd.cli.output import note

# name → (module, attribute, one line of help). A command with subcommands is a `click.group(cls=grouping.Group)`.
COMMANDS: Final = {
    "up": ("wispd.cli.node", "up", "Start a node."),
    "down": ("wispd.cli.node", "down", "Stop the node; running calls finish first."),
    "status": ("wispd.cli.status", "status", "Show the node, its processes and its functions."),
    "backup": ("wispd.cli.backups", "backup", "Write a backup of the node to a file."),
    "restore": ("wispd.cli.backups", "restore", "Make a data directory from a backup."),
    "doctor": ("wispd.cli.doctor", "doctor", "Check what this host gives to sandboxes."),
    "service-unit": ("wispd.cli.service", "service_unit", "Print a systemd unit for a node."),
    "init": ("wispd.cli.starting", "init", "Make a runnable starting point."),
    "run": ("wispd.cli.running", "run", "Serve one file now, and again whenever you save it."),
    "dev": ("wispd.cli.developing", "dev", "Serve a project while you work on it."),
    "deploy": ("wispd.cli.deploying", "deploy", "Deploy a folder, a file or a zip."),
    "build": ("wispd.cli.building", "build", "Look at builds of dependencies."),
    "list": ("wispd.cli.functions", "list_functions", "List functions."),
    "show": ("wispd.cli.functions", "show", "Show one function."),
    "invoke": ("wispd.cli.invoking", "invoke", "Invoke a function and print its answer."),
    "delete": ("wispd.cli.functions", "delete", "Delete a function."),
    "enable": ("wispd.cli.versions", "enable", "Let calls of a function in again."),
    "disable": ("wispd.cli.versions", "disable", "Refuse new calls of a function; running ones finish."),
    "versions": ("wispd.cli.versions", "versions", "List the versions of a function."),
    "alias": ("wispd.cli.versions", "alias", "Point names at versions, and divide calls among them."),
    "rollback": ("wispd.cli.versions", "rollback", "Go back to the version that was live before."),
    "rollout": ("wispd.cli.rollouts", "rollout", "Move to a version step by step, back if it fails."),
    "secret": ("wispd.cli.secrets", "secret", "Set, list and delete secrets."),
    "logs": ("wispd.cli.records", "logs", "Print what functions wrote."),
    "invocation": ("wispd.cli.records", "invocation", "Show the record of one run, or of many."),
    "token": ("wispd.cli.access", "token", "Create, list and revoke tokens."),
    "namespace": ("wispd.cli.access", "namespace", "Create, list and delete namespaces."),
    "audit": ("wispd.cli.access", "audit", "List and verify who changed what."),
    "usage": ("wispd.cli.usage", "usage", "Show what ran and what it costs."),
    "stats": ("wispd.cli.statistics", "stats", "Show how a function performs, step by step."),
    "why": ("wispd.cli.statistics", "why", "Say why a function is cold, slow, refused or failing."),
    "top": ("wispd.cli.top", "top", "Show functions as they run."),
    "budget": ("wispd.cli.budgets", "budget", "Limit what functions may cost."),
    "quota": ("wispd.cli.quotas", "quota", "Limit how much of the node a namespace may have."),
    "completion": ("wispd.cli.completing", "completion", "Complete commands and names in your shell."),
}
# How `wisp --help` groups them, in this order. A test holds that every command stands in one topic.
TOPICS: Final = {
    "Develop": ("init", "run", "dev"),
    "Functions": ("deploy", "build", "list", "show", "invoke", "enable", "disable", "delete"),
    "Versions": ("versions", "alias", "rollback", "rollout"),
    "Look inside": ("logs", "invocation", "stats", "why", "top"),
    "Settings and money": ("secret", "usage", "budget", "quota"),
    "Access": ("token", "namespace", "audit"),
    "Node": ("up", "down", "status", "doctor", "service-unit", "backup", "restore", "completion"),
}


class Commands(LazyGroup):
    """All commands of `wisp`."""

    rows = COMMANDS
    topics = TOPICS


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
