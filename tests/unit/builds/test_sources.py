"""Which file names the dependencies, and which others it draws in."""

from __future__ import annotations

from pathlib import Path

import pytest

from wispd.base.errors import Fault
from wispd.control import buildsource


def project(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_most_exact_file_wins(tmp_path: Path) -> None:
    tree = project(tmp_path, requirements_DOT_txt="a", pyproject_DOT_toml='[project]\ndependencies = ["a"]')
    assert buildsource.find(tree, "") == buildsource.Source(kind="requirements", path="requirements.txt")
    (tree / "uv.lock").write_text("")
    found = buildsource.find(tree, "")
    assert found is not None
    assert found.kind == "uv_lock"


def test_nothing_and_none_mean_no_dependencies(tmp_path: Path) -> None:
    tree = project(tmp_path, main_DOT_py="print()", pyproject_DOT_toml="[tool.x]\n")
    assert buildsource.find(tree, "") is None
    (tree / "requirements.txt").write_text("a")
    assert buildsource.find(tree, "none") is None


def test_a_script_may_say_it_itself(tmp_path: Path) -> None:
    script = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["idna"]\n# ///\nimport idna\n'
    found = buildsource.find(project(tmp_path, main_DOT_py=script), "")
    assert found == buildsource.Source(kind="script", path="main.py")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.txt", "a/../../x.txt", "missing.txt", "setup.cfg"])
def test_a_file_that_can_t_be_it_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(Fault) as caught:
        buildsource.find(project(tmp_path, main_DOT_py=""), path)
    assert caught.value.code == "invalid_argument"


def test_everything_drawn_in_counts(tmp_path: Path) -> None:
    tree = project(tmp_path, requirements_DOT_txt="-r more/base.txt\na", more__base_DOT_txt="-c ../limits.txt\nb")
    (tree / "limits.txt").write_text("c<2")
    source = buildsource.find(tree, "")
    assert source is not None
    assert set(buildsource.files(tree, source)) == {"requirements.txt", "more/base.txt", "limits.txt"}


def test_a_file_outside_is_not_drawn_in(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="outside"):
        buildsource.find(project(tmp_path, requirements_DOT_txt="-r ../../secrets.txt"), "")


@pytest.mark.parametrize(
    ("line", "local"),
    [
        *((line, True) for line in ("-e .", "./lib", "mine @ ./lib", "mine @ file:///x", ".")),
        *((line, False) for line in ("requests==2.0", "a @ https://a.org/a.whl", "# ./lib", "--hash=sha256:ab")),
    ],
)
def test_folders_of_the_code_are_noticed(line: str, local: bool) -> None:
    assert buildsource.is_local(f"x\n{line}\n") is local
