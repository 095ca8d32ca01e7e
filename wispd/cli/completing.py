"""Completion: `wisp completion SHELL`, and names that are completed from the node while one types."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from wispd.base.errors import Fault
from wispd.cli.output import note, print_json, say

WITHIN_S: Final = 0.5  # a node that is away or slow must not hold up the keyboard
SHELLS: Final = ("bash", "zsh", "fish")
VARIABLE: Final = "_WISP_COMPLETE"
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Write it to where the shell looks for it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def completion(shell: str, install: bool, as_json: bool) -> None:
    """Print the completion script of a shell, or install it for the current user."""
    script = script_of(shell)
    if not install:
        if as_json:
            print_json({"shell": shell, "script": script})
        else:
            say(script)
        return
    path = place_of(shell)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script + "\n", "utf-8")
    except OSError as error:
        raise Fault("forbidden", f"{path} can't be written: {error.strerror}") from error
    if as_json:
        print_json({"shell": shell, "path": str(path)})
        return
    say(f"{path} is written; it works in the next shell")
    if shell == "zsh":
        note("put this into ~/.zshrc if it is not there:")
        note(f"  fpath=({path.parent} $fpath)\n  autoload -U compinit && compinit")


def script_of(shell: str) -> str:
    """Return the script that makes `shell` ask `wisp` what could come next."""
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    from wispd.cli.main import wisp

    kinds = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
    maker = kinds[shell](wisp, {}, "wisp", VARIABLE)
    return (maker.source_template % maker.source_vars()).strip()  # `source()` would run bash to ask its version


def place_of(shell: str) -> Path:
    """Return where the shell looks for completions of the current user."""
    import platformdirs

    if shell == "fish":
        return platformdirs.user_config_path("fish") / "completions/wisp.fish"
    home = platformdirs.user_data_path()
    return home / ("bash-completion/completions/wisp" if shell == "bash" else "zsh/site-functions/_wisp")


def asking(ask: Callable[[Any, click.Context], list[str]]) -> Complete:
    """Return a completion that asks the node: `ask(client, context)`. Silent and empty when it does not answer."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        found: list[str] = []

        def fetch() -> None:
            from contextlib import suppress

            from wispd.cli.options import Where

            given = ctx.params
            where = Where(
                data_dir=given.get("data_dir") or "", namespace=given.get("namespace") or "default", as_json=False
            )
            with suppress(Exception), where.client() as client:  # whatever it is, a keyboard is no place to say it
                found.extend(ask(client, ctx))

        thread = threading.Thread(target=fetch, daemon=True)
        thread.start()
        thread.join(WITHIN_S)
        return [name for name in list(found) if name.startswith(incomplete)]

    return complete


function_names = asking(lambda client, _: [function["name"] for function in client.functions()])


def _aliases(client: Any, context: click.Context) -> list[str]:
    """Return the aliases of the function that is named already, else of all."""
    name = context.params.get("name")
    found = [function for function in client.functions() if name in (None, "", function["name"])]
    return sorted({alias for function in found for alias in function["aliases"]})


def _secrets(client: Any, _: click.Context) -> list[str]:
    from wispd.client import secrets

    return [secret["name"] for secret in secrets.listed(client)]


alias_names = asking(_aliases)
secret_names = asking(_secrets)
