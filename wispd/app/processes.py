"""One process of a node, seen by the supervisor."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from wispd.app.boot import Message, Peer
from wispd.app.directory import DataDirectory
from wispd.app.restarts import History, after_death
from wispd.app.settings import Settings

# Nothing of the caller's environment reaches a role: `-I` ignores PYTHON*, and there are no secrets to find.
ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_NS: Final = 1_000_000_000


class RoleProcess:
    """A role: started, watched, started again."""

    def __init__(self, name: str, directory: DataDirectory) -> None:
        self.name = name
        self.history = History()
        self.ready = False
        self.drained = False
        self.last_end = ""
        self.why = ""  # the role's own words, or how it died
        self.started_ns = 0
        self.start_at_ns = 0
        self.lost_ns = 0  # since when the role has closed its lifeline
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.peer: Peer | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self, now_ns: int, settings: Settings, node_id: str, *, descriptors: Mapping[str, int]) -> None:
        """Start the process and give it what it needs. Raises OSError when it can't be started."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = ["-I", "-m", "wispd.app.role", self.name, "--boot-fd", str(theirs.fileno())]
        with theirs, os.fdopen(self._directory.open_log(self.name), "ab", buffering=0) as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
                [sys.executable, *arguments],
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # Ctrl-C is for the supervisor alone
            )
        self.ready = self.drained = False
        self.lost_ns = 0
        self.started_ns = now_ns
        self.start_at_ns = 0
        self.peer = Peer(ours.detach())
        with contextlib.suppress(OSError):  # dead already: `ended` says so
            self.peer.send(Message(type="boot", role=self.name, node_id=node_id, settings=settings), descriptors)

    def ended(self, now_ns: int, *, wanted: bool) -> bool:
        """Has the process ended? If so, plan its next start, unless its end was wanted."""
        if self._process is None or self._process.poll() is None:
            return False
        code = self._process.returncode
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self.why = self.last_end = self.why or how
        if not wanted:
            self.history, delay_s = after_death(self.history, (now_ns - self.started_ns) / _NS)
            self.start_at_ns = now_ns + int(delay_s * _NS)
        self.forget()
        return True

    def forget(self) -> None:
        """Let go of what belongs to the ended process."""
        self._process = None
        self.ready = False
        if self.peer is not None:
            self.peer.close()
            self.peer = None

    def send(self, message: Message, descriptors: Mapping[str, int] | None = None) -> None:
        """Tell the role something; a dead one does not hear it."""
        if self.peer is not None:
            with contextlib.suppress(OSError):
                self.peer.send(message, descriptors)

    def signal(self, number: int) -> None:
        """Signal the process, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def status(self) -> dict[str, object]:
        """Return what `run/status.json` says of this process."""
        counts = {"pid": self.pid, "ready": self.ready, "restarts": self.history.restarts}
        return {"name": self.name, **counts, "last_end": self.last_end}

    def log_tail(self) -> str:
        """Return the last line of the role's log."""
        with contextlib.suppress(OSError):
            log = self._directory.path / "logs" / f"{self.name}.log"
            lines = log.read_bytes()[-4096:].decode("utf-8", "replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""
