"""What `wisp deploy` makes of flags, folders and wisp.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wispd.base.errors import Fault
from wispd.cli import manifest
from wispd.cli.deploying import document
from wispd.cli.naming import app_name, default_name
from wispd.cli.projects import chosen_functions, merged

GIVEN: dict[str, Any] = {"env": (), "allow": ()}


def test_nothing_given_sends_nothing() -> None:
    assert document(GIVEN) == {}


def test_flags_become_the_document() -> None:
    given = GIVEN | {
        "handler": "a:b",
        "memory": "256MB",
        "timeout": "5s",
        "concurrency": 2,
        "cpu": 0.5,
        "env": ("A=1", "B=x=y"),
        "network": "none",
        "allow": ("127.0.0.1:5432",),
        "access": "token",
        "instances_min": 0,
        "instances_max": 3,
        "idle": "1m",
    }
    assert document(given) == {
        "handler": "a:b",
        "memory": "256MB",
        "timeout": "5s",
        "concurrency": 2,
        "cpu": 0.5,
        "access": "token",
        "env": {"A": "1", "B": "x=y"},
        "network": {"mode": "none", "allow": ["127.0.0.1:5432"]},
        "instances": {"min": 0, "max": 3, "idle": "1m"},
    }


@pytest.mark.parametrize("text", ["A", "=1", ""])
def test_a_variable_without_a_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(Fault, match="NAME=VALUE"):
        document(GIVEN | {"env": (text,)})


def test_flags_win_over_the_manifest_key_by_key() -> None:
    table = {"memory": "1GB", "env": {"A": "1", "B": "2"}, "instances": {"min": 1}}
    flags = {"env": {"B": "3"}, "instances": {"max": 5}}
    assert merged(table, flags) == {
        "memory": "1GB",
        "env": {"A": "1", "B": "3"},
        "instances": {"min": 1, "max": 5},
    }


def test_a_name_is_made_of_the_folder_or_file(tmp_path: Path) -> None:
    folder = tmp_path / "my app (2)"
    folder.mkdir()
    (folder / "thing.py").write_text("")
    assert default_name(folder) == "my-app-2"
    assert default_name(folder / "thing.py") == "thing"
    (tmp_path / "世界").mkdir()
    with pytest.raises(Fault, match="--name"):
        default_name(tmp_path / "世界")


def test_functions_of_a_manifest_or_one_of_them(tmp_path: Path) -> None:
    declared: dict[str, dict[str, Any]] = {"a": {}, "b": {"memory": "1GB"}}
    assert chosen_functions(tmp_path, declared, None) == declared
    assert chosen_functions(tmp_path, declared, "b") == {"b": {"memory": "1GB"}}
    assert chosen_functions(tmp_path, {}, "c") == {"c": {}}
    with pytest.raises(Fault, match="a, b"):
        chosen_functions(tmp_path, declared, "c")


def write(folder: Path, text: str) -> Path:
    (folder / manifest.FILE_NAME).write_text(text)
    return folder


def test_a_manifest_is_read(tmp_path: Path) -> None:
    text = '[app]\nname = "photos"\n[functions.thumb]\nhandler = "t:make"\nenv = { SIZE = "128" }\n'
    assert manifest.read(write(tmp_path, text)) == {"thumb": {"handler": "t:make", "env": {"SIZE": "128"}}}


def test_no_manifest_is_fine(tmp_path: Path) -> None:
    assert manifest.read(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("[functions.a]\nmemroy = 1\n", 2, "did you mean memory?"),
        ("[functions.b]\nmemory = 1\n\n[functions.a]\ntimeout = 1\ntimeuot = 2\n", 6, "did you mean timeout?"),
        ("[functons.a]\n", 1, "did you mean functions?"),
        ('[app]\nname = "x"\n[functions.a.instnces]\nmin = 1\n', 3, "did you mean instances?"),
        ("[functions.a]\nxyzzy = 1\n", 2, "there are handler"),
    ],
)
def test_an_unknown_key_is_named_with_its_line(tmp_path: Path, text: str, line: int, hint: str) -> None:
    with pytest.raises(Fault) as refused:
        manifest.read(write(tmp_path, text))
    assert f"{manifest.FILE_NAME}:{line}: " in refused.value.message
    assert hint in refused.value.message


def test_what_comes_later_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Fault) as refused:
        manifest.read(write(tmp_path, '[[functions.a.triggers]]\ntype = "object"\n'))
    assert refused.value.code == "not_implemented"


@pytest.mark.parametrize("text", ["[functions", "functions = 1", "[functions]\na = 1\n"])
def test_a_broken_manifest_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(Fault) as refused:
        manifest.read(write(tmp_path, text))
    assert manifest.FILE_NAME in refused.value.message


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('from wisp import App\napp = App("shop")', "shop"),
        ('import wisp\nsite: wisp.App = wisp.App("shop", docs=False)', "shop"),
        ('from wisp import App\na = App("one")\nb = App("two")', None),
        ('from wisp import App\napp = App("../evil")', None),
        ("from wisp import App\napp = App(name())", None),
        ("def handle(event): ...", None),
        ("def broken(:", None),
        ("\0", None),
    ],
)
def test_a_function_is_called_as_its_app(tmp_path: Path, source: str, name: str | None) -> None:
    """The code is read, never run."""
    (tmp_path / "main.py").write_text(source)
    (tmp_path / "other.py").write_text("x = 1")
    assert app_name(tmp_path) == app_name(tmp_path / "main.py") == name
    assert default_name(tmp_path / "main.py") == (name or "main")


def test_build_says_what_runs_and_what_names_the_dependencies(tmp_path: Path) -> None:
    (tmp_path / "wisp.toml").write_text(
        '[build]\ndependencies = "requirements.txt"\nrun = ["python make.py \'two words\'", ["echo", "a b"]]\n'
    )
    table = manifest.read_build(tmp_path)
    assert table.dependencies == "requirements.txt"
    assert table.run == (("python", "make.py", "two words"), ("echo", "a b"))


def test_no_shell_takes_part_in_a_command(tmp_path: Path) -> None:
    (tmp_path / "wisp.toml").write_text('[build]\nrun = "echo $HOME; rm -rf / | cat > x"\n')
    assert manifest.read_build(tmp_path).run == (("echo", "$HOME;", "rm", "-rf", "/", "|", "cat", ">", "x"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[build]\n\nrnu = []\n", r"wisp\.toml:3: rnu is no key here; did you mean run\?"),
        ("[build]\nrun = 5\n", r"wisp\.toml:2: run must be a list"),
        ("[build]\nrun = [5]\n", r"wisp\.toml:2: run has 5"),
        ('[build]\nrun = ["a \'b"]\n', r"wisp\.toml:2: run has .*No closing quotation"),
        ("[build]\ndependencies = 5\n", r"wisp\.toml:2: dependencies must be"),
        ("build = 5\n", r"wisp\.toml:1: build must be a table"),
        ("[buidl]\n", r"wisp\.toml:1: buidl is no key here; did you mean build\?"),
        ('[app]\nname = "x"\n[functions.a\n', r"wisp\.toml:3: .*line 3"),
    ],
)
def test_a_wrong_build_table_is_named_by_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "wisp.toml").write_text(text)
    with pytest.raises(Fault, match=says):
        manifest.read_build(tmp_path)


def test_a_function_may_name_its_own_dependencies_or_none(tmp_path: Path) -> None:
    (tmp_path / "wisp.toml").write_text(
        '[functions.a]\ndependencies = "a.txt"\n[functions.b]\ndependencies = false\n'
    )
    assert manifest.read(tmp_path) == {"a": {"dependencies": "a.txt"}, "b": {"dependencies": False}}


TOML = """[functions.other]
memory = "1GB"

[functions.a]
handler = "main:handle"
memory = "lots"
network = { mod = "none" }

[functions.a.instances]
mim = 3
"""


@pytest.mark.parametrize(("key", "line"), [("memory", 6), ("network.mod", 7), ("instances.mim", 10), ("network", 7)])
def test_what_the_node_refuses_of_the_manifest_is_told_with_its_line(tmp_path: Path, key: str, line: int) -> None:
    (tmp_path / "wisp.toml").write_text(TOML)
    table = manifest.read(tmp_path)["a"]
    told = manifest.placed(Fault("invalid_argument", f"{key} is wrong", key=key), tmp_path, "a", table)
    assert told.message == f"{tmp_path}/wisp.toml:{line}: {key} is wrong"
    assert told.facts["key"] == key


@pytest.mark.parametrize(
    "fault", [Fault("invalid_argument", "no", key="cpu"), Fault("throttled", "no", key="memory")]
)
def test_what_is_not_from_the_manifest_is_told_as_it_is(tmp_path: Path, fault: Fault) -> None:
    (tmp_path / "wisp.toml").write_text(TOML)
    assert manifest.placed(fault, tmp_path, "a", manifest.read(tmp_path)["a"]) is fault
