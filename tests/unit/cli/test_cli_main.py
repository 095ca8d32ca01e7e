"""The command line itself: quick help, mistakes, exit codes, one document with --json."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from wispd.base.errors import CODES, Fault
from wispd.cli import failures
from wispd.cli.grouping import Group
from wispd.cli.main import COMMANDS, TOPICS, main, wisp
from wispd.cli.output import harmless


def test_help_lists_every_command_and_imports_none() -> None:
    code = "import sys; from wispd.cli.main import main; main(['--help']); print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()
    for heavy in ("rich", "httpx", "fastapi", "uvloop", "apsw", "wispd.cli.node"):
        assert heavy not in modules
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"wisp {name}" in text
    assert COMMANDS[name][2]


def test_every_command_stands_in_one_topic() -> None:
    listed = [name for names in TOPICS.values() for name in names]
    assert sorted(set(listed)) == sorted(listed)
    assert set(COMMANDS) <= set(listed), "add it to TOPICS in wispd/cli/main.py"


def groups(command: click.Command, path: str) -> Iterator[tuple[str, click.Group]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        yield path, command
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from groups(below, f"{path} {name}")


def test_a_mistyped_word_is_understood_on_every_level(capsys: pytest.CaptureFixture[str]) -> None:
    for path, group in groups(wisp, "wisp"):
        assert isinstance(group, Group), f"{path}: make it a click.group(cls=wispd.cli.grouping.Group)"
        meant = next(iter(group.list_commands(click.Context(group))))
        assert main([*path.split()[1:], meant + "x"]) == failures.USAGE
        assert f"did you mean `{path} {meant}`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"), [("lst", "list"), ("deply", "deploy"), ("log", "logs"), ("statuss", "status")]
)
def test_a_mistyped_command_is_understood(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed]) == failures.USAGE
    shown = capsys.readouterr()
    assert f"did you mean `wisp {meant}`?" in shown.err
    assert shown.out == ""


def test_a_mistyped_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--memry", "1"]) == failures.USAGE
    assert "--memory" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["list"], ["invoke", "x"], ["status"], ["logs"], ["usage"], ["show", "x"]])
def test_without_a_node_the_next_step_is_said(
    arguments: list[str], tmp_path: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WISP_URL", raising=False)
    assert main([*arguments, "--data", str(tmp_path), "--json"]) == failures.UNREACHABLE
    shown = capsys.readouterr()
    assert "wisp up" in shown.err
    documents = shown.out.strip().splitlines()
    assert len(documents) == 1
    assert json.loads(documents[0])["error"]["code"] == "unavailable"


def test_usage_errors_are_one_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoke", "--json"]) == failures.USAGE
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_down_without_a_node_is_no_failure(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "--data", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stopped"] is False


def test_every_code_has_an_exit_code() -> None:
    for code in CODES:
        assert 1 <= failures.exit_code(Fault(code, "x")) <= 6
    assert failures.exit_code(Fault("not_found", "x")) == 3
    assert failures.exit_code(Fault("throttled", "x")) == 4
    assert failures.exit_code(Fault("function_error", "x")) == 1


def test_what_would_steer_a_terminal_is_made_visible() -> None:
    assert harmless("a\x1b]0;title\x07b\x9b31m") == "a\\x1b]0;title\\x07b\\x9b31m"
    assert harmless("\r\x08\x7f\u202e") == "\\x0d\\x08\\x7f\\u202e"
    assert harmless("two\nlines\tand 世界 ⛄") == "two\nlines\tand 世界 ⛄"


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("wisp ")
    assert wisp.name == "wisp"
