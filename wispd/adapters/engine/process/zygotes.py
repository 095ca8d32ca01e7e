"""The launcher's side of its zygotes: start them, order forks, and believe only what the kernel vouches for."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
from dataclasses import asdict, dataclass, field
from typing import Final, NoReturn, Protocol

from wispd.adapters.engine.process import broker, descriptors, egress, kernel, orders, rootfs
from wispd.adapters.engine.process.instances import Member
from wispd.adapters.engine.process.loop import Loop
from wispd.adapters.engine.process.orders import ZygoteSettings
from wispd.adapters.engine.process.runtimes import Runtime

_CODE: Final = "import sys;sys.path.insert(0,{path!r});from wispd.adapters.engine.process.zygote import main;main()"
_ANY_CHILD: Final = os.WNOHANG | os.WEXITED | os.WNOWAIT if hasattr(os, "WNOWAIT") else 0


class ZygoteEvents(Protocol):
    """What a zygote tells the launcher."""

    def zygote_ready(self, zygote: Zygote) -> None: ...

    def zygote_lost(self, zygote: Zygote) -> None:
        """It ended, or can't be used: no member will come any more. Told once."""

    def layer_waits(self, zygote: Zygote) -> None:
        """A layer's sandbox exists; mount the layer into `zygote.init_pid` and call `import_layer`."""

    def member_born(self, member: Member) -> None:
        """It has a pid; `member_ready` or `member_failed` follows, unless it ends before."""

    def member_ready(self, member: Member) -> None: ...

    def member_failed(self, member: Member, reason: str) -> None: ...


@dataclass(slots=True)
class Zygote:
    """One zygote process. `state`: starting, ready, threaded (a layer that must not be forked), lost."""

    number: int
    orders: socket.socket
    reports: socket.socket
    state: str = "starting"
    pid: int = 0
    init_pid: int = 0  # first process of a layer's sandbox, 0 for a trusted zygote
    uid: int = 0
    foreign: bool = False
    pending: dict[int, Member] = field(default_factory=dict)

    def fork(self, member: Member, given: list[int]) -> None:
        """Order a member; its report follows, or `zygote_lost`. Raises `OSError` when it is gone or choked."""
        bits = orders.REHEARSE * member.pooled | orders.NETWORK * (member.network >= 0)
        order = (orders.FORK, member.kind.network, bits, member.uid, member.number, member.scratch_bytes)
        descriptors.send(self.orders, orders.ORDER.pack(*order), given)
        self.pending[member.number] = member

    def import_layer(self) -> None:
        """Tell a layer zygote that its layer is mounted."""
        descriptors.send(self.orders, orders.ORDER.pack(orders.IMPORT, 0, 0, 0, 0, 0))

    def kill(self) -> None:
        """End the zygote. Members it made live on, and with them the sandbox of a layer."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Zygotes:
    """Starts zygotes and reads their reports."""

    def __init__(self, loop: Loop, events: ZygoteEvents, settings: ZygoteSettings, *, packages: str) -> None:
        self._loop = loop
        self._events = events
        self._settings = settings
        self._packages = packages
        self._count = 0

    def start(self, runtime: Runtime) -> Zygote:
        """Start the trusted zygote of a runtime; `zygote_ready` or `zygote_lost` follows."""
        zygote, theirs = self._pair()
        pid = os.fork()
        if pid == 0:
            _exec(runtime, self._settings, theirs, packages=self._packages)
        zygote.pid = pid
        self._watch(zygote, theirs)
        zygote.orders.send(json.dumps(asdict(self._settings)).encode())
        return zygote

    def start_layer(self, parent: Zygote, uid: int) -> Zygote:
        """Have a trusted zygote make a layer's sandbox; `layer_waits` follows, then `zygote_ready`."""
        zygote, theirs = self._pair()
        zygote.foreign, zygote.uid = True, uid
        order = orders.ORDER.pack(orders.LAYER, 0, 0, uid, 0, 0)
        try:
            descriptors.send(parent.orders, order, [end.fileno() for end in theirs])
        finally:
            self._watch(zygote, theirs)
        return zygote

    def _pair(self) -> tuple[Zygote, tuple[socket.socket, socket.socket]]:
        own_orders, their_orders = descriptors.packet_pair()
        own_reports, their_reports = descriptors.packet_pair()
        own_reports.setsockopt(socket.SOL_SOCKET, descriptors.SO_PASSCRED, 1)
        own_orders.setblocking(False)
        own_reports.setblocking(False)
        self._count += 1
        return Zygote(self._count, own_orders, own_reports), (their_orders, their_reports)

    def _watch(self, zygote: Zygote, theirs: tuple[socket.socket, socket.socket]) -> None:
        for end in theirs:
            end.close()
        self._loop.add(zygote.reports.fileno(), lambda: self._read(zygote))

    def close(self, zygote: Zygote) -> None:
        """Forget a zygote: kill it and fail what it had not finished. Idempotent.

        A layer's sandbox ends when its `reports` are closed: that is left to the one who knows its members.
        """
        if zygote.state == "lost":
            return
        zygote.state = "lost"
        self._loop.remove(zygote.reports.fileno())
        zygote.kill()
        zygote.orders.close()
        if not zygote.foreign:
            zygote.reports.close()
        pending, zygote.pending = list(zygote.pending.values()), {}
        for member in pending:
            self._events.member_failed(member, "its zygote ended")
        self._events.zygote_lost(zygote)

    def _read(self, zygote: Zygote) -> None:
        while zygote.state != "lost":
            try:
                packet = descriptors.receive(zygote.reports, orders.REPORT_MAX)
            except BlockingIOError:
                return
            except (descriptors.PacketError, OSError):
                self.close(zygote)
                return
            if len(packet.content) < orders.REPORT.size:
                descriptors.close_all(packet.descriptors)
                self.close(zygote)
                return
            self._report(zygote, packet)

    def _report(self, zygote: Zygote, packet: descriptors.Packet) -> None:
        kind, value, number = orders.REPORT.unpack_from(packet.content)
        notifier = packet.descriptors.pop(0) if kind == orders.READY and packet.descriptors else -1
        descriptors.close_all(packet.descriptors)
        member = zygote.pending.get(number)
        if member is not None and kind == orders.BORN and not member.pid and _is_child(packet.pid):
            member.pid = packet.pid
            self._events.member_born(member)
            return
        if member is not None and kind in {orders.READY, orders.FAILED, orders.BORN}:
            del zygote.pending[number]
            member.notifier = notifier
            if kind == orders.READY and member.pid and member.pid == packet.pid:
                self._events.member_ready(member)
            else:
                reason = packet.content[orders.REPORT.size :].decode(errors="replace")
                self._events.member_failed(member, reason or "no process of ours")
            return
        descriptors.close_all([notifier] if notifier >= 0 else [])
        self._progress(zygote, kind, value, packet.pid)

    def _progress(self, zygote: Zygote, kind: int, value: int, pid: int) -> None:
        """A zygote's own way from its start to readiness; anything out of order ends it."""
        starting = zygote.state == "starting"
        if kind == orders.LAYER_INIT and starting and zygote.foreign and not zygote.init_pid and _is_child(pid):
            zygote.init_pid = pid
        elif kind == orders.LAYER_ZYGOTE and starting and zygote.foreign and not zygote.pid and _is_child(pid):
            zygote.pid = pid
        elif kind == orders.ZYGOTE_READY and starting and pid == zygote.pid:
            zygote.state = "ready" if value == 1 else "threaded"
            self._events.zygote_ready(zygote)
            return
        elif starting or kind not in {orders.READY, orders.FAILED, orders.BORN}:
            self.close(zygote)
            return
        else:
            return  # about a member that ended in between
        if zygote.pid and zygote.init_pid:
            self._events.layer_waits(zygote)


def _is_child(pid: int) -> bool:
    """Is this one of our own children: the only processes whose pid can't change its meaning under us."""
    try:
        os.waitid(os.P_PID, pid, _ANY_CHILD)
    except OSError:
        return False
    return pid > 1


def _exec(
    runtime: Runtime,
    settings: ZygoteSettings,
    theirs: tuple[socket.socket, socket.socket],
    *,
    packages: str,
) -> NoReturn:
    """In the forked child: build the root, become the interpreter. An error goes to the reports as FAILED."""
    try:
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        moved = [fcntl.fcntl(end.fileno(), fcntl.F_DUPFD, 10) for end in theirs]  # out of the way of 3 and 4
        os.dup2(moved[0], orders.ORDERS_FD)
        os.dup2(moved[1], orders.REPORTS_FD)
        os.closerange(orders.REPORTS_FD + 1, 1 << 20)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.close(null)
        place = packages
        if settings.mode != "process":
            root = rootfs.plan(runtime, packages=packages, resolver=_resolver())
            rootfs.build(root, privileged=settings.mode == "root")
            place = rootfs.BOOT_PATH
        kernel.die_with_parent()
        code = _CODE.format(path=place)
        os.execve(runtime.executable, [runtime.executable, "-I", "-S", "-B", "-c", code], {})  # noqa: S606
    except BaseException as error:
        text = f"{type(error).__name__}: {error}".encode()[:512]
        with contextlib.suppress(OSError):
            os.write(2, b"zygote: " + text + b"\n")
    finally:
        os._exit(71)


def _resolver() -> str:
    try:
        with open(broker.RESOLVER_PATH, encoding="utf-8", errors="replace") as file:
            return egress.resolver_file(file.read(65_536))
    except OSError:
        return egress.resolver_file("")
