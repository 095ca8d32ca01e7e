"""The systemd unit: well-formed, of an unprivileged user, hardened, and nothing in it that stops the sandbox."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from wispd.app.notifying import READY, notify
from wispd.base.errors import Fault
from wispd.cli.main import main
from wispd.cli.service import unit

STOP_THE_SANDBOX = (
    "RestrictNamespaces",
    "PrivateUsers",
    "ProtectControlGroups",
    "ProtectProc",
    "ProtectKernelTunables",
    "ProtectKernelLogs",
    "PrivateDevices",
    "SystemCallFilter",
    "MemoryDenyWriteExecute",
)


def settings_of(text: str) -> dict[str, dict[str, str]]:
    """Parse a unit: sections of key=value, each key once."""
    sections: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
            continue
        key, _, value = line.partition("=")
        assert key.isalpha()
        assert key not in section
        section[key] = value
    return sections


def made(**given: str) -> str:
    return unit(**{"user": "wisp", "data_dir": "/var/lib/wisp", "command": "/opt/wisp/bin/wisp", **given})


def test_the_unit_runs_a_node_as_an_unprivileged_user() -> None:
    sections = settings_of(made())
    service = sections["Service"]
    assert set(sections) == {"Unit", "Service", "Install"}
    assert service["ExecStart"] == "/opt/wisp/bin/wisp up --data /var/lib/wisp"
    assert (service["User"], service["Type"], service["Delegate"]) == ("wisp", "notify", "yes")
    assert (service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == ("yes", "")
    assert service["StateDirectory"] == "wisp"
    assert not set(STOP_THE_SANDBOX) & set(service)


def test_a_data_directory_elsewhere_is_not_systemds() -> None:
    assert "StateDirectory" not in settings_of(made(data_dir="/srv/wisp/data"))["Service"]


@pytest.mark.parametrize(
    "given",
    [
        {"user": "wisp\nExecStartPre=/bin/evil"},
        {"user": ""},
        {"data_dir": "/a b"},
        {"data_dir": "relative"},
        {"data_dir": "/%h"},
        {"command": "/x $Y"},
    ],
)
def test_what_would_become_more_than_a_value_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(Fault):
        made(**given)


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service-unit", "--user", "nobody"]) == 0
    assert settings_of(capsys.readouterr().out)["Service"]["User"] == "nobody"


def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    path = tmp_path / "wisp.service"
    path.write_text(made(user="root", command=shutil.which("true") or "/bin/true"))
    done = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True, check=False, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if "wisp.service" in line]
    assert not complaints, complaints


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_told(tmp_path: Path, abstract: bool) -> None:
    address = f"@wisp-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        notify(address, READY)
        assert manager.recv(64, socket.MSG_DONTWAIT) == b"READY=1"
    notify(address, READY)  # nobody is there any more
    notify("", READY)
