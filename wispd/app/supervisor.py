"""The supervisor: starts the roles of a node, wires them, starts them again when they die, and ends them in order.

It holds what must outlive a role: the listening sockets, the lock on the data directory. It does no work of its own
and touches no user's bytes. When it dies, the roles end themselves: their lifeline is cut.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import msgspec

from wispd.app.boot import Message
from wispd.app.datadir import DataDirectory
from wispd.app.listeners import address, listen_tcp, listen_unix
from wispd.app.processes import Process, Processes
from wispd.app.settings import Settings
from wispd.base.clock import Clock
from wispd.base.errors import Fault

ORDER: Final = ("launcher", "gateway", "control", "recorder")  # ended in the opposite order of who needs whom
READY_S: Final = 30.0
END_S: Final = 5.0  # for a role to end after it drained
_NS: Final = 1_000_000_000


class Supervisor:
    """One node. `run` returns its exit code."""

    def __init__(self, settings: Settings, clock: Clock, *, announce: Callable[[dict[str, object]], None]) -> None:
        """Take the data directory and the ports. Raises `Fault` when something of it can't be had."""
        self._clock = clock
        self._announce = announce
        owner = settings.service_uid if os.geteuid() == 0 else -1
        self._directory = DataDirectory(settings.data_dir, owner)
        self.node_id = self._directory.node_id(clock)
        self.token = self._directory.first_token()
        public = listen_tcp(settings.host, settings.port, "--port")
        admin = listen_tcp(settings.admin_host, settings.admin_port, "--admin-port")
        internal = listen_unix(self._directory.path / "run" / "gateway.sock", owner)
        self.addresses = {"public": address(public), "admin": address(admin)}
        settings = msgspec.structs.replace(
            settings, port=self.addresses["public"][1], admin_port=self.addresses["admin"][1]
        )
        self.settings = settings
        self._sockets = {"public": public, "admin": admin, "internal": internal}
        self._selector = selectors.DefaultSelector()
        self._processes = Processes(settings, self.node_id, clock)
        self._stopping = 0
        self._draining: set[str] = set()
        self._deadline_ns = 0
        self._announced = False
        self._failure: str | None = None

    def run(self) -> int:
        """Serve until told to stop. Returns 0, or 6 when a role can't be brought up."""
        self._watch_signals()
        try:
            for role in ORDER:
                self._start(role)
            limit_ns = self._clock.monotonic_ns() + int(READY_S * _NS)
            while not self._finished():
                self._turn()
                if not self._announced and self._clock.monotonic_ns() > limit_ns and not self._stopping:
                    self._failure = f"the node was not ready within {READY_S:g} s: " + self._processes.unready()
                    self._stopping = 2
            if self._failure:
                raise Fault("unavailable", self._failure)
            return 0
        finally:
            self._end_all()

    # ── one turn of the loop ────────────────────────────────────────────────────────────────────────────────

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._wait_s()):
            if key.data is None:
                os.read(self._wake, 4096)
            else:
                self._hear(key.data)
        for process in self._processes.reap():
            self._died(process)
        for role in self._processes.due() if not self._stopping else ():
            self._start(role)
        if self._stopping and not self._draining and self._deadline_ns == 0:
            self._drain()
        if not self._announced and self._processes.all_ready():
            self._announced = True
            self._write_status("ready")
            self._announce(self.status("ready"))

    def _wait_s(self) -> float:
        return min(self._processes.next_due_s(), 0.5 if self._stopping or not self._announced else 5.0)

    def _hear(self, process: Process) -> None:
        received = process.peer.receive()
        if received is None:
            self._selector.unregister(process.peer)
            return  # it dies: `reap` tells
        message, descriptors = received
        for fd in descriptors.values():
            os.close(fd)
        if message.type == "ready":
            process.ready = True
        elif message.type == "drained":
            self._draining.discard(process.role)
        elif message.type == "failed":
            process.failure = message.message

    def _start(self, role: str) -> None:
        descriptors = {name: self._sockets[name].fileno() for name in _SOCKETS.get(role, ())}
        other = _PAIRED.get(role)
        ours: socket.socket | None = None
        if other is not None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            descriptors[other] = ours.fileno()
            self._processes.tell(other, Message(type="descriptor"), {role: theirs.fileno()})
            if self._processes.get(other) is None:  # not started yet: it gets its own pair, and so do we again
                descriptors.pop(other)
            theirs.close()
        process = self._processes.start(role, descriptors)
        if ours is not None:
            ours.close()
        self._selector.register(process.peer, selectors.EVENT_READ, process)

    def _died(self, process: Process) -> None:
        if process.peer.fileno() in self._selector.get_map():
            self._selector.unregister(process.peer)
        process.peer.close()
        self._draining.discard(process.role)
        if not self._announced and not self._stopping and process.failure:
            self._failure = f"the {process.role} can't start: {process.failure}"
            self._stopping = 2

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    def _watch_signals(self) -> None:
        self._wake, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _asked_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping += 1

    def _drain(self) -> None:
        """Running calls finish, new ones are refused; the second request to stop ends this at once."""
        self._write_status("draining")
        drain_s = self.settings.drain_s
        self._deadline_ns = self._clock.monotonic_ns() + int(drain_s * _NS)
        for role in ("gateway",):
            if self._processes.tell(role, Message(type="drain", deadline_s=drain_s), {}):
                self._draining.add(role)

    def _finished(self) -> bool:
        if self._stopping > 1:
            return True
        return self._deadline_ns > 0 and (not self._draining or self._clock.monotonic_ns() >= self._deadline_ns)

    def _end_all(self) -> None:
        self._write_status("stopping")
        self._processes.end(("gateway", "control", "launcher", "recorder"), within_s=END_S)
        for listening in self._sockets.values():
            listening.close()
        self._directory.remove("run/gateway.sock")
        self._directory.remove("run/status.json")
        self._directory.remove("run/supervisor.pid")

    # ── what others can see ─────────────────────────────────────────────────────────────────────────────────

    def status(self, state: str) -> dict[str, object]:
        """Return what run/status.json says of the node."""
        host, port = self.addresses["public"]
        admin_host, admin_port = self.addresses["admin"]
        return {
            "state": state,
            "pid": os.getpid(),
            "node_id": self.node_id,
            "url": f"http://{_url_host(host)}:{port}",
            "admin_url": f"http://{_url_host(admin_host)}:{admin_port}",
            "data_dir": self.settings.data_dir,
            "processes": self._processes.pids(),
        }

    def _write_status(self, state: str) -> None:
        try:
            self._directory.write("run/status.json", json.dumps(self.status(state)))
            self._directory.write("run/supervisor.pid", f"{os.getpid()}\n")
        except OSError:  # a full disk must not take the node down
            pass


_SOCKETS: Final = {"gateway": ("public", "internal"), "control": ("admin",)}
_PAIRED: Final = {"launcher": "gateway", "gateway": "launcher"}


def _url_host(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - a comparison, not a bind
    return f"[{host}]" if ":" in host else host
