"""Completion: scripts that shells take, names from the node, silence when it is away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from wispd.cli import completing
from wispd.cli.completing import SHELLS, alias_names, asking, place_of, secret_names
from wispd.cli.main import main, wisp


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_its_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_WISP_COMPLETE" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)
    assert main(["completion", shell, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["script"] == script.rstrip("\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_it_is_installed_where_the_shell_looks(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert main(["completion", shell, "--install"]) == 0
    path = place_of(shell)
    assert path.is_relative_to(tmp_path)
    assert "_WISP_COMPLETE" in path.read_text()
    assert str(path) in capsys.readouterr().out


def completed(words: str, **environment: str) -> list[str]:
    given = {"_WISP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()))}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from wispd.cli.main import main; sys.exit(main([]))"],
        env=os.environ | given | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_and_templates_are_completed() -> None:
    assert "deploy" in completed("wisp ")
    assert completed("wisp init --template") == ["http", "app", "fastapi", "flask", "scheduled", "image", "ml"]


def test_without_a_node_there_is_silence(tmp_path: Path) -> None:
    assert completed("wisp invoke", WISP_DATA=str(tmp_path), WISP_URL="") == []


def test_a_slow_node_does_not_hold_up_the_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    never = threading.Event()
    monkeypatch.setattr(completing, "WITHIN_S", 0.01)

    def slow(client: Any, context: click.Context) -> list[str]:
        never.wait()
        return ["late"]

    class Where:
        def __init__(self, **_: Any) -> None: ...

        def client(self) -> Any:
            import contextlib

            return contextlib.nullcontext()

    monkeypatch.setattr("wispd.cli.options.Where", Where)
    context = click.Context(click.Command("x"))
    parameter = click.Argument(["name"])
    try:
        assert asking(slow)(context, parameter, "") == []
        assert asking(lambda _, __: ["alpha", "beta"])(context, parameter, "al") in (["alpha"], [])
    finally:
        never.set()


NO_FUNCTIONS = {  # what NAME stands for there instead
    "init": "a folder",
    "secret set": "a secret",
    "secret delete": "a secret",
    "token create": "a token",
    "namespace create": "a namespace",
    "namespace delete": "a namespace",
    "namespace show": "a namespace",
}


def parameters(group: click.Group, path: str = "") -> list[tuple[str, click.Parameter]]:
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += parameters(command, f"{path}{name} ")
        found += [(f"{path}{name}", parameter) for parameter in command.params]
    return found


def test_every_name_that_a_node_knows_is_completed() -> None:
    kinds = {"name": "function_names", "alias": "alias_names", "alias_name": "alias_names", "secret": "secret_names"}
    missing, seen = [], set()
    for path, parameter in parameters(wisp):
        kind = (
            "secret_names"
            if path.startswith("secret ") and parameter.name == "name"
            else kinds.get(str(parameter.name))
        )
        if kind is None or (kind == "function_names" and path in NO_FUNCTIONS):
            continue
        seen.add((path, kind))
        if parameter._custom_shell_complete is not getattr(completing, kind):
            missing.append(f"{path}: {parameter.name} is completed by shell_complete={kind}")
    assert missing == []
    assert {("deploy", "secret_names"), ("alias set", "alias_names"), ("why", "function_names")} <= seen


def test_aliases_are_those_of_the_function_and_secrets_those_of_the_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Client:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None: ...

        def functions(self) -> list[dict[str, Any]]:
            return [
                {"name": "a", "aliases": {"live": {"1": 100}, "beta": {"2": 100}}},
                {"name": "b", "aliases": {"live": {"1": 100}, "blue": {"1": 100}}},
            ]

    class Where:
        def __init__(self, **given: Any) -> None:
            assert given["namespace"] == "shop"

        def client(self) -> Client:
            return Client()

    monkeypatch.setattr(completing, "WITHIN_S", 10.0)
    monkeypatch.setattr("wispd.cli.options.Where", Where)
    monkeypatch.setattr("wispd.client.secrets.listed", lambda _: [{"name": "DB"}, {"name": "KEY"}])
    context = click.Context(click.Command("x"))
    parameter = click.Argument(["name"])
    context.params = {"namespace": "shop", "name": "a"}
    assert alias_names(context, parameter, "") == ["beta", "live"]
    assert secret_names(context, parameter, "K") == ["KEY"]
    context.params = {"namespace": "shop", "name": None}
    assert alias_names(context, parameter, "b") == ["beta", "blue"]
