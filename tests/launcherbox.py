"""A launcher and its client for tests: deploy source text, start instances, call them, see every event."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from wisp.runtime import frames
from wispd.adapters.engine.process import descriptors, spawn
from wispd.adapters.engine.process.client import ProcessEngine
from wispd.adapters.engine.process.config import LauncherSettings
from wispd.adapters.engine.process.groups import find_groups
from wispd.base.errors import Fault
from wispd.ports.engine import Exited, Started, StartSpec

NOBODY = 65_534
PATIENCE_S = 20.0
MIB = 1 << 20
SYSTEM_PYTHON = "/usr/bin/python3"
HANDLER = """
def handle(event, context):
    return "hello"
"""


class Events:
    """Records everything an engine tells."""

    def __init__(self) -> None:
        self.starts: dict[int, Started] = {}
        self.faults: dict[int, Fault] = {}
        self.exits: dict[int, Exited] = {}
        self.samples: list[list[tuple[int, int]]] = []
        self.changes: list[str] = []

    def started(self, ticket: int, started: Started) -> None:
        self.starts[ticket] = started

    def refused(self, ticket: int, fault: Fault) -> None:
        self.faults[ticket] = fault

    def exited(self, exited: Exited) -> None:
        self.exits[exited.instance] = exited

    def sampled(self, usage: Sequence[tuple[int, int]]) -> None:
        self.samples.append(list(usage))

    def lost(self) -> None:
        self.changes.append("lost")

    def restored(self) -> None:
        self.changes.append("restored")


class Box:
    """One launcher with a data directory of its own. `user`: run by uid 65534 when we are root."""

    def __init__(self, *, user: bool = False, mode: str = "auto", **settings: Any) -> None:
        self.data = tempfile.mkdtemp(prefix="wisp-box-")
        os.chmod(self.data, 0o755)
        for name in ("code", "layers"):
            os.mkdir(f"{self.data}/{name}")
        self.settings = LauncherSettings(data=self.data, mode=mode, **settings)
        self.prefix: tuple[str, ...] = ()
        self.executable = ""
        if user and os.geteuid() == 0:
            self.prefix = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            self.executable = SYSTEM_PYTHON
        self.loop = asyncio.new_event_loop()
        self.events = Events()
        self.engine = ProcessEngine(self.events, data=self.data, loop=self.loop)
        self.started: list[Started] = []
        self._ticket = 0
        try:
            self.launch()
        except RuntimeError:
            self.close()
            raise

    def launch(self) -> None:
        """Start a launcher and wait until the engine can use it."""
        self.launcher = spawn.start_launcher(self.settings, prefix=self.prefix, executable=self.executable)
        self.launcher.wait_ready()
        self.engine.connect(os.dup(self.launcher.gateway.fileno()))
        self.launcher.gateway.close()
        self.until(lambda: bool(self.engine.level))

    def close(self) -> None:
        self.engine.close()
        self.launcher.close()
        find_groups(self.data).clean()  # what a killed shell leaves is the next launcher's to remove; there is none
        self.loop.close()
        for started in self.started:
            self.release(started)
        shutil.rmtree(self.data, ignore_errors=True)

    def release(self, started: Started) -> None:
        """Close an instance's descriptors."""
        for number in (started.link_fd, started.steal_fd, started.log_fd, started.schedstat_fd):
            if number >= 0:
                with contextlib.suppress(OSError):
                    os.close(number)
        self.started = [other for other in self.started if other.instance != started.instance]

    def until(self, true: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
        """Run the loop until a condition holds; fails the test when it does not in time."""

        async def wait() -> None:
            end = time.monotonic() + within_s
            while not true():
                assert time.monotonic() < end, "it did not happen in time"
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(wait())

    def deploy(self, source: str = HANDLER) -> str:
        """Put a one-file function into the code directory; return its digest."""
        return self._tree("code", {"fn.py": source})

    def deploy_layer(self, files: dict[str, str]) -> str:
        return self._tree("layers", files)

    def _tree(self, kind: str, files: dict[str, str]) -> str:
        digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
        for name, text in files.items():
            path = f"{self.data}/{kind}/{digest}/{name}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(text)
        return digest

    def spec(self, code: str, **changes: Any) -> StartSpec:
        fields: dict[str, Any] = {"namespace": "default", "memory_bytes": 256 * MIB, "scratch_bytes": 128 * MIB}
        return StartSpec(code=code, **(fields | changes))

    def ask(self, code: str, **changes: Any) -> int:
        """Start without waiting; return the ticket."""
        self._ticket += 1
        self.engine.start(self._ticket, self.spec(code, **changes))
        return self._ticket

    def start(self, code: str, **changes: Any) -> Started:
        """Start an instance and wait for it."""
        ticket = self.ask(code, **changes)
        self.until(lambda: ticket in self.events.starts or ticket in self.events.faults)
        assert ticket in self.events.starts, self.events.faults[ticket]
        started = self.events.starts[ticket]
        self.started.append(started)
        return started

    def stop(self, started: Started) -> Exited:
        self.engine.stop(started.instance)
        return self.exit_of(started)

    def exit_of(self, started: Started) -> Exited:
        self.until(lambda: started.instance in self.events.exits)
        return self.events.exits[started.instance]

    def call(self, started: Started, **init: Any) -> frames.Frame | None:
        """Initialise an instance and send one event; return its OUTCOME or FAILED, None when the link ends."""
        send_call(started, **init)
        return answer(started.link_fd)

    def value(self, source: str, **changes: Any) -> Any:
        """Deploy, start, call once, stop; return the answer's JSON (or text)."""
        started = self.start(self.deploy(source), **changes)
        frame = self.call(started)
        assert frame is not None, os.read(started.log_fd, 65_536).decode(errors="replace")
        assert frame.type == frames.OUTCOME, frame
        assert not frame.flags & frames.ERROR, frame.body.decode()
        self.stop(started)
        self.release(started)
        return json.loads(frame.body)


def send_call(started: Started, **init: Any) -> None:
    """Write HELLO, INIT and one INVOKE without waiting, as a gateway does."""
    settings = {
        "function": "fn",
        "namespace": "default",
        "version": 1,
        "version_id": "ver",
        "handler": "fn:handle",
        "dialect": "native",
        "code": started.code_path,
        "layer": started.layer_path,
        "env": {},
        "memory_bytes": 256 * MIB,
        "timeout_s": 30,
        "concurrency": 1,
        "mount": "/fn/fn",
    }
    head = frames.INVOKE_HEAD.pack(time.monotonic_ns() + 30 * 10**9, 0, bytes(16), 6, 0)
    link = socket.socket(fileno=os.dup(started.link_fd))
    with link:
        link.send(frames.pack(frames.HELLO, meta=frames.VERSION))
        link.send(frames.pack(frames.INIT, head=json.dumps(settings | init).encode()))
        request = b"GET /fn/fn/ 127.0.0.1\r\nhost: localhost\r\n"
        link.send(frames.pack(frames.INVOKE, 1, flags=frames.HTTP, head=head + request))


def answer(link_fd: int) -> frames.Frame | None:
    """The first OUTCOME or FAILED on a link; None at its end."""
    with socket.socket(fileno=os.dup(link_fd)) as link:
        link.settimeout(PATIENCE_S)
        while True:
            try:
                packet = link.recv(frames.PACKET_MAX)
            except ConnectionError:
                return None
            finally:
                os.set_blocking(link_fd, False)
            if not packet:
                return None
            frame = frames.parse(packet)
            if frame.type in (frames.OUTCOME, frames.FAILED):
                return frame


def system_python_present() -> bool:
    """Is there an interpreter that uid 65534 can run, and can it read this repository?"""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import wispd; sys.exit(sys.version_info < (3, 11))"
    command = [SYSTEM_PYTHON, "-I", "-c", code, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    if os.geteuid() == 0:
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
    try:
        return subprocess.run(command, env={}, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextlib.contextmanager
def box(**settings: Any) -> Iterator[Box]:
    one = Box(**settings)
    try:
        yield one
    finally:
        one.close()


def open_descriptors() -> set[str]:
    """What this process has open, by kind: for before-and-after comparisons."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
    return found


__all__ = ["HANDLER", "MIB", "Box", "Events", "answer", "box", "descriptors", "send_call"]
