"""The built wheel: installed into an environment of its own, far from the checkout, it is a whole Wisp."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[3]
HELLO = """
import wisp

def handle(event, context):
    return {"from": wisp.__file__}
"""


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as somebody without a checkout would."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it without a network: the back end is in this environment."""
    folder = tmp_path_factory.mktemp("dist")
    hatch = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(hatch, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("wisp-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment with the wheel; its dependencies are those of this one, but Wisp itself is not."""
    folder = tmp_path_factory.mktemp("away")
    folder.chmod(0o755)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    bin_ = folder / "venv" / "bin"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv"), "platbase": ""}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    here = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (packages / "zz_dependencies.pth").write_text("\n".join([*here, ""]))
    script = bin_ / "wisp"
    script.write_text(f"#!{bin_ / 'python'}\nimport sys\nfrom wispd.cli.main import main\nsys.exit(main())\n")
    script.chmod(0o755)
    yield folder
    run(str(script), "down", "--now", "--data", str(folder / "data"), folder=folder)


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"wisp", "wispd"}
    for package in ("wisp", "wispd"):
        files = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert files <= set(names)
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        assert b"wisp = wispd.cli.main:main" in archive.read(entry)


def test_installed_far_from_the_checkout_it_serves(installed: Path) -> None:
    wisp = str(installed / "venv" / "bin" / "wisp")
    version = run(wisp, "--version", folder=installed)
    assert version.stdout.startswith("wisp "), version.stderr
    where = run(str(installed / "venv/bin/python"), "-c", "import wispd; print(wispd.__file__)", folder=installed)
    assert where.stdout.startswith(str(installed)), "the checkout is on the path"
    (installed / "greet").mkdir()
    (installed / "greet" / "main.py").write_text(HELLO)
    data = ["--data", str(installed / "data")]
    up = run(wisp, "up", "--detach", "--port", "0", "--admin-port", "0", "--json", *data, folder=installed)
    assert up.returncode == 0, up.stderr
    deployed = run(wisp, "deploy", "greet", *data, folder=installed)
    assert deployed.returncode == 0, deployed.stderr
    invoked = run(wisp, "invoke", "greet", *data, folder=installed)
    assert invoked.returncode == 0, invoked.stderr
    assert str(ROOT) not in json.loads(invoked.stdout)["from"]
    url = json.loads(up.stdout)["public_url"]
    assert httpx.get(f"{url}/fn/greet", trust_env=False, timeout=30).status_code == 200
    assert run(wisp, "down", *data, folder=installed).returncode == 0
