"""The supervisor: starts the processes of a node, watches them, starts them again, and ends them in order.

It holds the listening sockets, so connections wait in the backlog while a process is replaced. It serves nothing
itself. One thread, no asyncio: it must survive whatever happens to the others.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from wispd.app.boot import Message
from wispd.app.certificates import Certificates
from wispd.app.directory import DataDirectory, Node
from wispd.app.listeners import url_of
from wispd.app.processes import RoleProcess
from wispd.app.settings import Settings
from wispd.base.clock import Clock
from wispd.base.errors import Fault

ORDER: Final = ("launcher", "recorder", "gateway", "control")  # of starting
START_S: Final = 60.0  # for a role to become ready
STOP_S: Final = 5.0  # for a role to end after it was asked to
LOST_S: Final = 1.0  # for a role that closed its lifeline to end
DRAIN_GRACE_S: Final = 1.0  # over the deadline that the gateway was given
_TICK_S: Final = 0.5
_CALLER: Final = "caller"
_NS: Final = 1_000_000_000


class Held(NamedTuple):
    """What outlives the processes that use it. `listeners` are public, admin and internal."""

    listeners: dict[str, socket.socket]
    certificates: Certificates


class Supervisor:
    """One node."""

    def __init__(
        self,
        settings: Settings,
        directory: DataDirectory,
        node: Node,
        *,
        roles: dict[str, RoleProcess],
        held: Held,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._node = node
        self._roles = roles
        self._listeners = held.listeners
        self._certificates = held.certificates
        self._renew = False  # SIGHUP came
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._state = "starting"
        self._abandoned = False

    def run(self, announce: Callable[[], None], *, caller_fd: int = -1) -> None:
        """Run the node until it is told to end; `announce` is called once, when everything serves.

        `caller_fd`: a pipe's end; when whoever holds the other end is gone, the node ends at once.

        Raises: `Fault("unavailable")` when a process can't be started in the first place; nothing is left then.
        """
        with self._signalled():
            if caller_fd >= 0:
                self._selector.register(caller_fd, selectors.EVENT_READ, _CALLER)
            try:
                for name in ORDER:
                    self._start(name)
                self._until_ready()
                if self._signals:  # told to end before it served
                    return
                self._write_status("ready")
                announce()
                while not self._signals:
                    self._step()
                self._drain()
            finally:
                self._stop_all()
                self._write_status("ended")

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────

    def _until_ready(self) -> None:
        deadline_ns = self._clock.monotonic_ns() + int(START_S * _NS)
        while not all(role.ready for role in self._roles.values()) and not self._signals:
            self._step()
            for role in self._roles.values():
                late = not role.ready and self._clock.monotonic_ns() > deadline_ns
                if role.history.deaths_in_a_row or late:
                    why = role.why if role.why and not late else f"not ready within {START_S:.0f} s"
                    tail = role.log_tail()
                    raise Fault(
                        "unavailable", f"the {role.name} could not start: {why}" + (f" ({tail})" if tail else "")
                    )

    def _step(self) -> None:
        """Wait for something to happen and see to it."""
        for key, _ in self._selector.select(self._pause_s()):
            if key.data is None:
                self._wakeup.recv(4096)
            elif key.data is _CALLER:
                self._selector.unregister(key.fileobj)
                self._abandoned = True
                self._signals += [signal.SIGTERM, signal.SIGTERM]  # twice: nobody waits for running calls
            else:
                self._hear(key.data)
        now_ns = self._clock.monotonic_ns()
        self._renew_certificates(now_ns)
        for role in self._roles.values():
            if role.running:
                self._watch(role, now_ns)
            if not role.running and now_ns >= role.start_at_ns and self._state in ("starting", "ready"):
                self._start(role.name)

    def _renew_certificates(self, now_ns: int) -> None:
        """Hand on certificates whose files have changed; say so when they can't be used."""
        asked, self._renew = self._renew, False
        before = dict(self._certificates.errors)
        told = self._certificates.look(now_ns, asked=asked)
        for name in told:
            tls = self._certificates.descriptor(name)
            self._roles[name].send(Message(type="certificate"), tls)
            for fd in tls.values():
                os.close(fd)
        for name, error in self._certificates.errors.items():
            if before.get(name) != error:
                sys.stderr.write(f"wisp: certificate of the {name} listener: {error}\n")
                sys.stderr.flush()
        if told or before != self._certificates.errors:
            self._write_status(self._state)

    def _watch(self, role: RoleProcess, now_ns: int) -> None:
        peer = role.peer
        if role.ended(now_ns, wanted=self._state == "ending"):
            if peer is not None:
                self._unregister(peer)
            self._write_status(self._state)
        elif role.lost_ns and now_ns - role.lost_ns > LOST_S * _NS:
            role.signal(signal.SIGKILL)
        elif not role.ready and now_ns - role.started_ns > START_S * _NS:
            role.why = f"not ready within {START_S:.0f} s"
            role.signal(signal.SIGKILL)

    def _hear(self, role: RoleProcess) -> None:
        if role.peer is None:
            return
        try:
            received = role.peer.receive()
        except (ValueError, OSError):  # nonsense: it is broken, or no longer ours
            received = None
        if received is None:
            self._unregister(role.peer)
            role.lost_ns = self._clock.monotonic_ns()  # it is ending; if not, it can't hear us and is ended
            return
        message, descriptors = received
        for fd in descriptors.values():
            os.close(fd)
        if message.type == "ready":
            role.ready, role.why = True, ""
            self._write_status(self._state)
        elif message.type == "drained":
            role.drained = True
        elif message.type == "failed":
            role.why = message.message

    def _start(self, name: str) -> None:
        """Start a role; gateway and launcher get a new pair of connected sockets whenever either starts."""
        role = self._roles[name]
        held = {
            "gateway": {key: self._listeners[key].fileno() for key in ("public", "internal")},
            "control": {"admin": self._listeners["admin"].fileno()},
        }.get(name, {})
        with contextlib.ExitStack() as stack:
            if name in ("gateway", "launcher"):
                mine, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                stack.enter_context(mine)
                stack.enter_context(others)
                other = "launcher" if name == "gateway" else "gateway"
                held = held | {other: mine.fileno()}
                self._roles[other].send(Message(type="descriptor"), {name: others.fileno()})
                if not self._roles[other].running:
                    held.pop(other)  # the pair is made when the other one starts
            tls = self._certificates.descriptor(name)
            for fd in tls.values():
                stack.callback(os.close, fd)
            held = held | tls
            role.start(self._clock.monotonic_ns(), self._settings, self._node.node_id, descriptors=held)
        assert role.peer is not None
        self._selector.register(role.peer, selectors.EVENT_READ, role)

    # ── end ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _drain(self) -> None:
        """Let running calls end; a second signal ends the wait, however soon it comes."""
        self._write_status("draining")
        gateway = self._roles["gateway"]
        drain_s = self._settings.drain_s
        gateway.send(Message(type="drain", deadline_s=drain_s))
        self._wait(lambda: gateway.drained or not gateway.running, drain_s + DRAIN_GRACE_S, hurried=True)

    def _stop_all(self) -> None:
        """End all processes, the launcher last: whatever it started ends with it.

        What an abandoned node would write down goes with its directory, so it is not waited for.
        """
        self._state = "ending"
        for name in ("gateway", "control", "recorder", "launcher"):
            role = self._roles[name]
            if self._abandoned and name != "launcher":
                role.signal(signal.SIGKILL)
            elif name == "recorder":  # indexes what the gateway wrote last
                role.send(Message(type="drain", deadline_s=STOP_S))
                self._wait(lambda role=role: not role.running, STOP_S)  # type: ignore[misc]
            role.signal(signal.SIGTERM)
            self._wait(lambda role=role: not role.running, STOP_S)  # type: ignore[misc]
            role.signal(signal.SIGKILL)
            self._wait(lambda role=role: not role.running, STOP_S)  # type: ignore[misc]

    def _wait(self, condition: Callable[[], bool], seconds: float, *, hurried: bool = False) -> None:
        deadline_ns = self._clock.monotonic_ns() + int(seconds * _NS)
        while not condition() and self._clock.monotonic_ns() < deadline_ns:
            if hurried and len(self._signals) > 1:
                return
            self._step()

    # ── around ──────────────────────────────────────────────────────────────────────────────────────────────

    def _pause_s(self) -> float:
        waits = [role.start_at_ns for role in self._roles.values() if not role.running]
        if not waits or self._state not in ("starting", "ready"):
            return _TICK_S
        return min(max(0.0, (min(waits) - self._clock.monotonic_ns()) / _NS), _TICK_S)

    def _unregister(self, peer: object) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(peer)  # type: ignore[arg-type]

    def _write_status(self, state: str) -> None:
        self._state = state if self._state != "ending" or state == "ended" else self._state
        status = {
            "state": self._state,
            "pid": os.getpid(),
            "node_id": self._node.node_id,
            "epoch": self._node.epoch,
            "public_url": url_of(self._listeners["public"], secure="public" in self._certificates.current),
            "admin_url": url_of(self._listeners["admin"], secure="admin" in self._certificates.current),
            "tls": self._certificates.status(),
            "processes": [role.status() for role in self._roles.values()],
        }
        with contextlib.suppress(Fault):  # a full disk does not end a node
            self._directory.write("run/status.json", msgspec.json.encode(status), durable=False)

    def _signal(self, number: int) -> None:
        """End, or for SIGHUP read the certificates again, unless it says that the terminal is gone."""
        if number == signal.SIGHUP and not os.isatty(0):
            self._renew = True
        else:
            self._signals.append(number)

    @contextlib.contextmanager
    def _signalled(self) -> Iterator[None]:
        """Catch signals; SIGCHLD only wakes the loop."""
        self._wakeup, writer = socket.socketpair()
        self._wakeup.setblocking(False)
        writer.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, None)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, lambda number, _: self._signal(number)) for number in numbers}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        woken = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            self._wakeup.close()
            writer.close()
