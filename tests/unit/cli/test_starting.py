"""`wisp init`: every template is whole, its own test passes, and nothing of the user's is overwritten."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from wispd.cli import manifest
from wispd.cli.main import main
from wispd.cli.starting import TEMPLATES

NEEDS = {
    "app": "wisp.app",
    "scheduled": "wisp.app",
    "image": "PIL",
    "ml": "skops",
    "fastapi": "fastapi",
    "flask": "flask",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_whole(template: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "My shop"
    assert main(["init", str(folder), "-t", template, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert {"README.md", "main.py", "test_main.py", "wisp.toml"} <= set(made["files"])
    assert made["name"] == "My-shop"
    for file in folder.iterdir():
        assert "{{" not in file.read_text()
    assert list(tomllib.loads((folder / "wisp.toml").read_text())["functions"]) == ["My-shop"]
    assert "wisp dev" in (folder / "README.md").read_text()


@pytest.mark.parametrize("template", ["http", "app", "fastapi", "flask", "scheduled"])
def test_the_test_of_a_template_passes(template: str, tmp_path: Path) -> None:
    needed = NEEDS.get(template)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not here")
    assert main(["init", str(tmp_path / "it"), "-t", template]) == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
    done = subprocess.run(command, cwd=tmp_path / "it", capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("template", ["http", "fastapi", "flask", "image"])
def test_the_manifest_of_a_template_is_a_valid_one(template: str, tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "it"), "-t", template]) == 0
    assert list(manifest.read(tmp_path / "it")) == ["it"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(7):
        (tmp_path / f"mine-{number}").write_text("precious")
    assert main(["init", str(tmp_path)]) == 4
    said = capsys.readouterr().err
    assert "mine-0" in said
    assert "and 2 more" in said
    assert len(list(tmp_path.iterdir())) == 7
    assert main(["init", str(tmp_path / "mine-0")]) == 4
    empty = tmp_path.parent / "empty"
    empty.mkdir()
    assert main(["init", str(empty)]) == 0


def test_a_mistyped_template_gets_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "x"), "--template", "fastpi"]) == 3
    assert "did you mean fastapi?" in capsys.readouterr().err
    assert main(["init"]) == 2
    assert not (tmp_path / "x").exists()


def test_the_templates_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--list", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["items"]] == list(TEMPLATES)
