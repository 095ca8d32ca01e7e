"""Setting up from nothing, and running the tests twice: the ways these take, without network."""

from __future__ import annotations

import importlib.util
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import tree


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", tree.ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup() -> ModuleType:
    return load("setup")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_new_enough_python_is_found_behind_an_old_one(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "python3", "echo 3 9\n")
    wanted = script(tmp_path / "python3.12", "echo 3 12\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PYTHON", raising=False)
    assert setup.find_python() == str(wanted)


def test_only_old_pythons_are_named_with_what_to_install(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "python3", "echo 3 9\n")
    script(tmp_path / "python3.11", "exit 127\n")  # the stub of a version manager
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PYTHON", raising=False)
    with pytest.raises(setup.Missing, match=r"is 3\.9.*apt install python3"):
        setup.find_python()


def test_without_ensurepip_the_next_way_is_taken(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = script(tmp_path / "bin/python3", 'case "$*" in *version_info*) echo 3 11;; *) exit 1;; esac\n')
    uv = script(tmp_path / "bin/uv", "exit 0\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    command = setup.make_environment(str(python), str(tmp_path / "venv"))
    assert command == [str(uv), "pip", "--python", str(tmp_path / "venv/bin/python")]


def test_without_any_way_the_package_is_named(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = script(tmp_path / "bin/python3", 'case "$*" in *version_info*) echo 3 11;; *) exit 1;; esac\n')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(setup.Missing, match=r"no `ensurepip`[\s\S]*apt install python3\.11-venv"):
        setup.make_environment(str(python), str(tmp_path / "venv"))


def test_the_stamp_changes_with_the_lock_and_with_the_place(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1\n")
    first = setup.stamp_of(sys.executable, str(lock), True)
    assert setup.stamp_of(sys.executable, str(lock), True) == first
    lock.write_text("a==2\n")
    second = setup.stamp_of(sys.executable, str(lock), True)
    monkeypatch.setattr(setup, "ROOT", str(tmp_path))
    assert len({first, second, setup.stamp_of(sys.executable, str(lock), False)}) == 3


def test_setup_can_be_parsed_by_old_interpreters() -> None:
    import ast

    ast.parse((tree.ROOT / "tools/setup.py").read_text(), feature_version=(3, 6))


def test_no_tests_is_a_failure() -> None:
    done = subprocess.run(
        [sys.executable, str(tree.ROOT / "tools/test_all.py"), "docs"], check=False, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "no tests in docs" in done.stderr
