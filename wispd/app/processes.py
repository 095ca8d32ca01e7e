"""The supervisor's children: started, told, reaped, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Final

from wispd.app.boot import Message, Peer
from wispd.app.restarts import History, died
from wispd.app.settings import Settings
from wispd.base.clock import Clock

_LOG_MAX: Final = 16 * 1024 * 1024  # a role's log is started anew above it, at its next start
_NEVER_S: Final = 3600.0


class Process:
    """One running role."""

    def __init__(self, role: str, child: subprocess.Popen[bytes], peer: Peer) -> None:
        self.role = role
        self.child = child
        self.peer = peer
        self.ready = False
        self.failure = ""


class Processes:
    """All roles, and when those that died start again."""

    def __init__(self, settings: Settings, node_id: str, clock: Clock) -> None:
        self._settings = settings
        self._node_id = node_id
        self._clock = clock
        self._running: dict[str, Process] = {}
        self._histories: dict[str, History] = {}
        self._due_ns: dict[str, int] = {}

    def get(self, role: str) -> Process | None:
        return self._running.get(role)

    def start(self, role: str, descriptors: Mapping[str, int]) -> Process:
        """Start a role and send it its boot document with these descriptors."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", "-m", "wispd.app.role", role, "--boot-fd", str(theirs.fileno())]
        with theirs, self._log(role) as log:
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                restore_signals=True,
            )
        peer = Peer(ours.detach())
        process = Process(role, child, peer)
        self._running[role] = process
        self._due_ns.pop(role, None)
        history = self._histories.get(role, History())
        self._histories[role] = History(history.deaths, self._clock.monotonic_ns())
        message = Message(type="boot", role=role, node_id=self._node_id, settings=self._settings)
        with contextlib.suppress(OSError):  # it is dead already: `reap` tells
            peer.send(message, descriptors)
        return process

    def _log(self, role: str) -> IO[bytes]:
        path = Path(self._settings.data_dir) / "logs" / f"{role}.log"
        if path.exists() and path.stat().st_size > _LOG_MAX:
            path.replace(path.with_suffix(".old.log"))
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")

    def tell(self, role: str, message: Message, descriptors: Mapping[str, int]) -> bool:
        """Send a running role a message; False if it does not run."""
        process = self._running.get(role)
        if process is None:
            return False
        try:
            process.peer.send(message, descriptors)
        except OSError:
            return False
        return True

    def reap(self) -> list[Process]:
        """Return the roles that died since the last look; they are planned to start again."""
        dead = [process for process in self._running.values() if process.child.poll() is not None]
        now_ns = self._clock.monotonic_ns()
        for process in dead:
            del self._running[process.role]
            history, delay_s = died(self._histories[process.role], now_ns)
            self._histories[process.role] = history
            self._due_ns[process.role] = now_ns + int(delay_s * 1e9)
        return dead

    def due(self) -> list[str]:
        """Return the roles whose time to start again has come."""
        now_ns = self._clock.monotonic_ns()
        return [role for role, at in self._due_ns.items() if at <= now_ns]

    def next_due_s(self) -> float:
        """Return in how many seconds the next start is due."""
        now_ns = self._clock.monotonic_ns()
        return min((max(0, at - now_ns) / 1e9 for at in self._due_ns.values()), default=_NEVER_S)

    def all_ready(self) -> bool:
        return not self._due_ns and all(process.ready for process in self._running.values())

    def unready(self) -> str:
        """Say which roles are not ready, and what they said."""
        waiting = [p for p in self._running.values() if not p.ready]
        words = [f"{p.role} ({p.failure or 'said nothing'})" for p in waiting]
        return ", ".join(words + [f"{role} (died)" for role in self._due_ns])

    def pids(self) -> dict[str, int]:
        return {role: process.child.pid for role, process in self._running.items()}

    def end(self, order: Iterable[str], *, within_s: float) -> None:
        """End the roles one after the other: SIGTERM, then SIGKILL; returns when all are reaped."""
        for role in order:
            process = self._running.pop(role, None)
            if process is None:
                continue
            with contextlib.suppress(ProcessLookupError):
                process.child.send_signal(signal.SIGTERM)
            self._await_end(process, within_s)
            process.peer.close()

    def _await_end(self, process: Process, within_s: float) -> None:
        limit_ns = self._clock.monotonic_ns() + int(within_s * 1e9)
        while process.child.poll() is None:
            if self._clock.monotonic_ns() > limit_ns:
                process.child.kill()
                process.child.wait()
                return
            time.sleep(0.005)
