"""Every command there is, run with --json against a node: exactly one document, whatever it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
from nodes import Node

from wispd.cli.main import main, wisp

pytestmark = pytest.mark.once

# What a command needs to do something. One that is not here is run with nothing: wrong use is a document, too.
ARGUMENTS = {
    "completion": ["bash"],
    "delete": ["nobody"],
    "deploy": ["/nowhere"],
    "init": ["--list"],
    "invoke": ["hello"],
    "invocation show": ["inv_" + "0" * 32],
    "run": ["/nowhere.py"],
    "dev": ["/nowhere"],
    "show": ["hello"],
    "up": ["--level", "nonsense"],
}
NO_NODE = {"completion", "doctor", "init", "run", "dev"}  # these take no --data, or need none
ENDS_IT = {"down"}  # it works, and is tested elsewhere
GOES_ON = {"logs": "NDJSON", "top": "a live view"}


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, (*path, name))


LEAVES = dict(leaves(wisp))


def test_what_is_listed_here_exists() -> None:
    assert set(ARGUMENTS) | NO_NODE | ENDS_IT <= set(LEAVES)


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_takes_json(path: str) -> None:
    assert "--json" in {option for one in LEAVES[path].params for option in one.opts}


@pytest.mark.parametrize("path", [path for path in LEAVES if path not in ENDS_IT | set(GOES_ON)])
def test_json_is_exactly_one_document(path: str, shared: Node, capfd: pytest.CaptureFixture[str]) -> None:
    where = [] if path in NO_NODE else ["--data", str(shared.path)]
    code = main([*path.split(), *ARGUMENTS.get(path, []), *where, "--json"])
    shown = capfd.readouterr()
    document = json.loads(shown.out)
    assert shown.out.count("\n") == 1
    assert ("error" in document and code != 0) or code == 0 or path == "doctor", (code, shown)
    assert "Traceback" not in shown.err
