"""A real node in a test: started, asked and stopped through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

WISP = [sys.executable, "-m", "wispd.cli.main"]
WITHIN_S = 30.0  # the platform promises two seconds; a loaded machine gets more


class Node:
    """One data directory and the node on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "node"
        self.url = ""
        self.admin_url = ""
        self.token = ""

    def cli(self, *arguments: str, stdin: bytes = b"", within_s: float = 120) -> subprocess.CompletedProcess[bytes]:
        """Run one command; its pipes must be closed when it returns, or this waits for ever."""
        command = [*WISP, *arguments, "--data", str(self.path)]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=within_s, check=False)

    def remote_cli(self, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        """Run one command against a node that only the environment names."""
        return subprocess.run(
            [*WISP, *arguments], env=os.environ | environment, capture_output=True, timeout=120, check=False
        )

    def json(self, *arguments: str) -> Any:
        """Run one command that must work; return its one JSON document."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
        return json.loads(done.stdout)

    def up(self, *flags: str) -> Any:
        serving = self.json("up", "--port", "0", "--admin-port", "0", "--detach", *flags)
        self.url, self.admin_url = serving["public_url"], serving["admin_url"]
        self.token = serving["token"] or self.token
        return serving

    def down(self) -> None:
        self.json("down")

    def deploy(self, name: str, source: str, *flags: str) -> Any:
        return self.json("deploy", str(self.write(name, source)), *flags)

    def write(self, name: str, source: str) -> Path:
        path = self.folder / f"{name}.py"
        path.write_text(source)
        return path

    def get(self, path: str, **given: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, trust_env=False, **given)

    def api(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Ask the control API with the node's own token."""
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.request(method, self.admin_url + path, headers=headers, timeout=30, trust_env=False, **given)

    def status_level(self) -> str:
        """The isolation level."""
        return str(self.api("GET", "/v1/status").json()["gateway"]["level"])

    def status(self) -> Any:
        return json.loads((self.path / "run" / "status.json").read_text())

    def pid(self, role: str) -> int:
        return next(one["pid"] for one in self.status()["processes"] if one["name"] == role)

    def pids(self) -> list[int]:
        status = self.status()
        return [status["pid"], *(one["pid"] for one in status["processes"])]

    def kill(self, role: str) -> int:
        """Kill a process of the node as the kernel would; return the pid it had."""
        pid = self.pid(role)
        os.kill(pid, signal.SIGKILL)
        return pid

    def served(self, path: str) -> bool:
        try:
            return self.get(path).status_code == 200
        except httpx.TransportError:
            return False

    def ready(self) -> bool:
        try:
            return httpx.get(self.admin_url + "/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for an outcome; how long it took is not judged here."""
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def gone(pids: list[int]) -> bool:
    """Are all these processes gone (or zombies of somebody else)?"""
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            return False
    return True
