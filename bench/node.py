"""A real node for the bench: started with `wisp up` on free ports and a data directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import client
import machine
from peers import free_port

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 60.0


class Node:
    """A running node and what the bench asks of it, through its two listeners only."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], port: int, admin_port: int) -> None:
        self.folder = folder
        self.process = process
        self.port = port
        self.admin_port = admin_port
        self.cores = os.sched_getaffinity(0)
        self._token = ""
        self._deployed: set[str] = set()

    @property
    def pid(self) -> int:
        return self.process.pid

    @staticmethod
    @contextmanager
    def started(settings: dict[str, int]) -> Iterator[Node]:
        """Start a node, yield it when it is ready, and stop it with everything it has."""
        folder = Path(tempfile.mkdtemp(prefix="wisp-bench-"))
        folder.chmod(0o755)
        port, admin = free_port(), free_port()
        environment = dict(os.environ) | {f"WISP_{key.upper()}": str(value) for key, value in settings.items()}
        command = [sys.executable, "-m", "wispd.cli.main", "up"]
        command += ["--data", str(folder / "data"), "--port", str(port), "--admin-port", str(admin)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        node = Node(folder, process, port, admin)
        try:
            node._wait_ready()
            yield node
        finally:
            node._stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _wait_ready(self) -> None:
        end = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(OSError, ValueError, IndexError), client.Link(self.admin_port) as link:
                if link.ask("GET", "/readyz").status == 200:
                    self._token = (self.folder / "data/cli-token").read_text().strip()
                    return
            time.sleep(0.02)
        raise RuntimeError(f"the node did not become ready:\n{(self.folder / 'log').read_text()[-2000:]}")

    def _stop(self) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def path(self, name: str) -> str:
        return f"/fn/{name}"

    def once(self, name: str, folder: Path, *, layer: Path | None = None) -> str:
        """Deploy a function unless this node has it already; return its name."""
        if name not in self._deployed:
            self.deploy_ms(name, folder, layer=layer)
            self._deployed.add(name)
        return name

    def distinct(self, names: list[str], folder: Path, *, layer: Path | None = None) -> list[str]:
        """Deploy the same code under many names: distinct functions, none of which has an instance."""
        for name in names:
            self.deploy_ms(name, folder, layer=layer)
        return names

    def deploy_ms(self, name: str, folder: Path, *, layer: Path | None = None) -> float:
        """Deploy a folder; return the milliseconds from the first byte sent to the answer that it is live."""
        raise NotImplementedError

    def forget(self, names: list[str]) -> None:
        """Delete functions, so that their instances end and the next row starts from the same place."""
        raise NotImplementedError

    def role_pids(self, *roles: str) -> list[int]:
        """Return the processes of these roles, by their command lines."""
        found = []
        for pid in machine.tree(self.pid):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"wispd.app.role" in words and any(role.encode() in words for role in roles):
                    found.append(pid)
        return found
