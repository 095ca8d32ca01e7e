"""Which functions a saved file changes, and which files matter at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from wispd.base.errors import Fault
from wispd.cli.changes import affected, reachable
from wispd.cli.running import checked, wanted_document
from wispd.cli.watching import matters

FUNCTIONS = {"one": {"handler": "one:go"}, "two": {"handler": "pkg.two:go"}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "one.py": "import lib.shared\nimport json\n",
        "pkg/__init__.py": "",
        "pkg/two.py": "from . import beside\nfrom .deeper.x import y\n",
        "pkg/beside.py": "",
        "pkg/deeper/x.py": "y = 1\n",
        "lib/shared.py": "from lib.below import z\n",
        "lib/below.py": "z = 1\n",
        "other.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ("one.py", ["one"]),
        ("lib/below.py", ["one"]),
        ("pkg/__init__.py", ["two"]),
        ("pkg/beside.py", ["two"]),
        ("pkg/deeper/x.py", ["two"]),
        ("other.py", []),
        ("data.csv", ["one", "two"]),
        ("gone/template.html", ["one", "two"]),
    ],
)
def test_a_change_reaches_those_who_import_it(project: Path, changed: str, names: list[str]) -> None:
    assert affected(project, FUNCTIONS, [project / changed]) == names


@pytest.mark.parametrize("text", ["import importlib\nimportlib.import_module('x')\n", "__import__('x')\n", "def (\n"])
def test_what_can_not_be_told_counts(project: Path, text: str) -> None:
    (project / "lib/below.py").write_text(text)
    assert affected(project, FUNCTIONS, [project / "other.py"]) == ["one"]


def test_without_a_named_handler_everything_counts(project: Path) -> None:
    assert affected(project, {"only": {}}, [project / "other.py"]) == ["only"]
    assert reachable(project, "nowhere:go") is None


def test_imports_in_a_circle_end(project: Path) -> None:
    (project / "lib/below.py").write_text("import one\n")
    assert affected(project, FUNCTIONS, [project / "one.py"]) == ["one"]


def test_caches_environments_and_editors_leftovers_do_not_matter(tmp_path: Path) -> None:
    wanted = matters(tmp_path)
    for name in (
        ".git/index",
        "__pycache__/a.pyc",
        ".venv/lib/x.py",
        "a/.mypy_cache/x",
        ".a.py.swp",
        "a.py~",
        "4913",
    ):
        assert not wanted(tmp_path / name), name
    for name in ("a.py", "wisp.toml", "a/b/data.csv"):
        assert wanted(tmp_path / name), name
    assert not wanted(tmp_path.parent / "a.py")
    (tmp_path / "main.py").write_text("")
    single = matters(tmp_path / "main.py")
    assert single(tmp_path / "main.py")
    assert not single(tmp_path / "other.py")


def test_what_is_no_single_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    for path, said in (
        (tmp_path, "wisp dev"),
        (tmp_path / "none.py", "does not exist"),
        (tmp_path / "a.txt", "no .py"),
    ):
        with pytest.raises(Fault, match=said):
            checked(path)


def test_beyond_this_machine_the_function_is_public_because_that_was_asked_for(tmp_path: Path) -> None:
    given = {"env": (), "allow": (), "handler": "app"}
    inside = wanted_document(tmp_path / "a.py", "127.0.0.1", dict(given))
    assert inside == {"handler": "a:app", "routes": [["", "", "/*"]]}
    assert wanted_document(tmp_path / "a.py", "0.0.0.0", dict(given))["access"] == "public"
