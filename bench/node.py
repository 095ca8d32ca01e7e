"""A real node for the bench: started with `wisp up` on free ports and a data directory of its own."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import client
import machine
from peers import free_port

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 60.0
GONE_WITHIN_S = 10.0
API = "/v1/namespaces/default"
CONNECTIONS = 8  # to the control API, when many functions are deployed


class Node:
    """A running node and what the bench asks of it, through its two listeners only."""

    def __init__(self, folder: Path, port: int, admin_port: int) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.admin_port = admin_port
        self.cores = os.sched_getaffinity(0)
        self._token = ""
        self._digests: dict[Path, str] = {}
        self._deployed: set[str] = set()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the node was not started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @staticmethod
    @contextmanager
    def started(settings: dict[str, int]) -> Iterator[Node]:
        """Start a node with these settings, yield it when it is ready, and stop it with everything it has."""
        folder = Path(tempfile.mkdtemp(prefix="wisp-bench-"))
        folder.chmod(0o755)
        (folder / "data").mkdir(mode=0o700)
        (folder / "data/wisp-node.toml").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        node = Node(folder, free_port(), free_port())
        try:
            node.start()
            yield node
        finally:
            node._stop()
            shutil.rmtree(folder, ignore_errors=True)

    def start(self) -> None:
        """Start the node's processes and wait until they are ready."""
        command = [sys.executable, "-m", "wispd.cli.main", "up", "--data", str(self.folder / "data")]
        command += ["--port", str(self.port), "--admin-port", str(self.admin_port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._wait_ready()

    def kill(self) -> None:
        """End the node as a crash would, and wait until nothing of it is left."""
        processes = machine.tree(self.pid)
        self.process.kill()
        self.process.wait()
        end = time.monotonic() + GONE_WITHIN_S
        while any(Path(f"/proc/{pid}").exists() for pid in processes):
            if time.monotonic() > end:
                raise RuntimeError(f"processes of a killed node are left after {GONE_WITHIN_S:g} s")
            time.sleep(0.01)

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
        return f"/fn/{name}/"

    def once(self, name: str, folder: Path, *, layer: Path | None = None) -> str:
        """Deploy a function unless this node has it already; return its name."""
        if name not in self._deployed:
            self._deployed.add(name)
            self.distinct([name], folder, layer=layer)
        return name

    def distinct(self, names: list[str], folder: Path, *, layer: Path | None = None) -> list[str]:
        """Deploy the same code under many names: distinct functions, none of which has an instance."""
        document = self.document(folder, layer)

        def share(some: list[str]) -> None:
            with client.Link(self.admin_port) as link:
                for name in some:
                    self._ask(link, "PUT", f"/functions/{name}", json.dumps(document).encode())

        with ThreadPoolExecutor(CONNECTIONS) as threads:
            list(threads.map(share, [names[start::CONNECTIONS] for start in range(CONNECTIONS)]))
        return names

    def deploy_ms(self, name: str, folder: Path, *, build: bool = False) -> float:
        """Deploy a folder, trial included; return the milliseconds from the upload's first byte to "it is live"."""
        package = zipped(folder, name)
        with client.Link(self.admin_port) as link:
            start = time.perf_counter()
            code = self._ask(link, "POST", "/packages", package)["code"]
            document = {"code": code} | (self._built(link, code) if build else {})
            self._ask(link, "PUT", f"/functions/{name}", json.dumps(document).encode())
            return (time.perf_counter() - start) * 1e3

    def _built(self, link: client.Link, code: str) -> dict[str, str]:
        """Have dependencies built; return what of it goes into a function's document."""
        lines = self._ask_raw(link, "POST", "/builds", json.dumps({"code": code}).encode()).splitlines()
        last = json.loads(lines[-1])
        if last["event"] != "done":
            raise RuntimeError(f"the build failed: {last}")
        return {"code": last["build"]["code"], "layer": last["build"]["layer"]}

    def forget(self, names: list[str]) -> None:
        """Delete functions, so that their instances end and the next row starts from the same place."""
        with client.Link(self.admin_port) as link:
            for name in names:
                self._ask(link, "DELETE", f"/functions/{name}")
        time.sleep(2)

    def billed_ms(self, name: str) -> float:
        """Return what a function's calls were billed so far."""
        with client.Link(self.admin_port) as link:
            rows: Any = self._ask(link, "GET", f"/usage?function={name}")["items"]
        return float(sum(row["billed_ms"] for row in rows if row["function"] == name))

    def document(self, folder: Path, layer: Path | None = None) -> dict[str, object]:
        """Upload what is not there yet; return what a deployment says. Without a trial: that has a row of its own."""
        with client.Link(self.admin_port) as link:
            if folder not in self._digests:
                self._digests[folder] = self._ask(link, "POST", "/packages", zipped(folder))["code"]
            if layer is not None and layer not in self._digests:
                self._digests[layer] = self._ask(link, "POST", "/layers", zipped(layer))["layer"]
        kinds = {
            "hello_fastapi": {"dialect": "asgi", "handler": "main:app"},
            "hello_app": {"dialect": "app", "handler": "main:app", "trial": False},
        }
        native = {"dialect": "native", "handler": "main:handle", "trial": False}
        document = {"code": self._digests[folder], **kinds.get(folder.name, native)}
        return document | ({"layer": self._digests[layer]} if layer else {})

    def _ask(self, link: client.Link, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        """Ask the control API; raises `RuntimeError` unless the answer is a 2xx."""
        answer = self._ask_raw(link, method, path, body)
        return json.loads(answer) if answer else {}  # type: ignore[no-any-return]

    def ask_raw(self, method: str, path: str, body: bytes, *, kind: str = "") -> bytes:
        """Ask the control API over a connection of its own; raises `RuntimeError` unless the answer is a 2xx."""
        with client.Link(self.admin_port) as link:
            return self._ask_raw(link, method, path, body, kind=kind)

    def _ask_raw(self, link: client.Link, method: str, path: str, body: bytes, *, kind: str = "") -> bytes:
        kind = kind or ("application/json" if body.startswith(b"{") else "application/zip")
        headers = f"Authorization: Bearer {self._token}\r\nContent-Type: {kind}\r\n"
        answer = link.ask(method, API + path, body=body, headers=headers)
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:500]!r}")
        return answer.body

    def role_pids(self, *roles: str) -> list[int]:
        """Return the processes of these roles, by their command lines."""
        found = []
        for pid in machine.tree(self.pid):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"wispd.app.role" in words and any(role.encode() in words for role in roles):
                    found.append(pid)
        return found


def zipped(folder: Path, comment: str = "") -> bytes:
    """Pack a folder; a comment makes a package of its own of it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and ("__pycache__" not in path.parts or folder.parent.name == "layers"):
                archive.write(path, path.relative_to(folder))
        if comment:
            archive.writestr("comment.txt", comment)
    return buffer.getvalue()
