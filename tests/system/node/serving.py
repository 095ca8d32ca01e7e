"""`wisp run` and `wisp dev` in a test: started, watched through its output, ended in every way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from nodes import WISP, eventually, gone


class Serving:
    """One command that goes on, its events, and every process it started."""

    def __init__(self, process: subprocess.Popen[bytes], temporary: Path) -> None:
        self.process = process
        self.temporary = temporary
        self.events: list[dict[str, Any]] = []
        self.said = b""
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._read, self._hear)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def _hear(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line

    def of(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("event") == name]

    def first(self, name: str) -> dict[str, Any]:
        self.until(lambda: bool(self.of(name)), f"{name}")
        return self.of(name)[0]

    def until(self, condition: Any, what: str) -> None:
        eventually(lambda: condition() or self.process.poll() is not None, what)
        assert condition(), (what, self.events, self.said)

    def get(self, path: str = "/") -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, trust_env=False)

    @property
    def url(self) -> str:
        ready = self.first("ready")
        return str(ready.get("url") or next(iter(ready["urls"].values()))).rstrip("/")

    def tree(self) -> list[int]:
        """Return the command and everything below it."""
        below: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                below.setdefault(parent, []).append(int(entry.name))
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += below.get(pid, [])
        return found

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def nothing_left(self, pids: list[int]) -> None:
        """Wait until the processes and the data directory are gone."""
        eventually(lambda: gone(pids), "its processes are gone")
        eventually(lambda: not list(self.temporary.iterdir()), "its directory is gone")

    def close(self) -> None:
        """Read what is left and let go of the pipes."""
        for thread in self._threads:
            thread.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def serving(*arguments: str) -> Iterator[Serving]:
    """Start a command with --json on a free port and a short path for its temporary files."""
    temporary = Path(tempfile.mkdtemp(prefix="wr-", dir="/tmp"))
    temporary.chmod(0o1777)
    process = subprocess.Popen(
        [*WISP, *arguments, "--port", "0", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(temporary)},
        start_new_session=True,
    )
    running = Serving(process, temporary)
    try:
        yield running
    finally:
        if process.poll() is None:
            running.end(signal.SIGKILL)
        running.close()
        shutil.rmtree(temporary, ignore_errors=True)
