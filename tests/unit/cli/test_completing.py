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
from wispd.cli.completing import SHELLS, asking, place_of
from wispd.cli.main import main


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
