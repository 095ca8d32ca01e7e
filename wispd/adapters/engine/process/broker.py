"""The egress broker: one process per node that opens connections on behalf of sandboxes. Started by the launcher.

The launcher's side is `start` and `BrokerHandle`; the process itself is `_main`. It needs no root: only the right to
look into the sandboxes' processes (CAP_SYS_PTRACE over their user namespace), and gives every other right away. It
may be unable to read the interpreter's files by then: nothing may be imported late.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
from collections.abc import Iterable
from struct import Struct
from typing import Final, NoReturn

from wispd.adapters.engine.process import descriptors, egress, kernel, protocol
from wispd.adapters.engine.process.brokerage import Broker
from wispd.adapters.engine.process.loop import Loop

_ADOPT, _FORGET = 1, 2
_MESSAGE: Final = Struct("<BxxxIQ")  # type, pid, instance; then protocol.ALLOW entries
_MESSAGE_MAX: Final = _MESSAGE.size + protocol.ALLOW.size * protocol.ALLOW_MAX
_SEND_TIMEOUT_S: Final = 1.0
_LINK_FD: Final = 3
_CAP_SYS_PTRACE: Final = 19
_PR_SET_KEEPCAPS: Final = 8
_NR_CAPSET: Final = {"x86_64": 126, "aarch64": 91}
RESOLVER_PATH: Final = "/etc/resolv.conf"


class BrokerHandle:
    """The launcher's end. Calls raise `OSError` when the broker is gone: start another one for later instances."""

    def __init__(self, pid: int, link: socket.socket) -> None:
        self.pid = pid
        self._link = link
        link.settimeout(_SEND_TIMEOUT_S)

    def fileno(self) -> int:
        """Becomes readable (end of file) when the broker has ended."""
        return self._link.fileno()

    def adopt(self, instance: int, notify_fd: int, pid: int, allow: Iterable[bytes]) -> None:
        """Serve an instance; `allow` are packed protocol.ALLOW entries. The descriptor stays the caller's."""
        message = _MESSAGE.pack(_ADOPT, pid, instance) + b"".join(allow)
        descriptors.send(self._link, message, [notify_fd])

    def forget(self, instance: int) -> None:
        """Drop an instance. Needless when all its processes have ended. Idempotent."""
        descriptors.send(self._link, _MESSAGE.pack(_FORGET, 0, instance))

    def close(self) -> None:
        """Let the broker end; waiting for `pid` is the caller's."""
        self._link.close()


def start(*, uid: int = 0, resolver_path: str = RESOLVER_PATH) -> BrokerHandle:
    """Fork the broker. Call it in the host's network namespace, from a process of one thread.

    `uid`: what it becomes when started as root (a leased one; 0: keep). It ends with its caller.
    """
    ours, theirs = descriptors.packet_pair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _main(theirs, uid, resolver_path)
    theirs.close()
    return BrokerHandle(pid, ours)


def _main(link: socket.socket, uid: int, resolver_path: str) -> NoReturn:
    status = 1
    try:
        _settle(link.detach(), uid)
        status = _serve(socket.socket(fileno=_LINK_FD), resolver_path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"egress broker: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


def _settle(link: int, uid: int) -> None:
    """Keep the link, standard error and one capability; give everything else away."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: None)
    os.dup2(link, _LINK_FD, inheritable=False)
    os.closerange(_LINK_FD + 1, 1 << 20)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _drop_rights(uid)
    kernel.die_with_parent()
    kernel.no_new_privileges()
    kernel.set_name("wisp-broker")


def _drop_rights(uid: int) -> None:
    with open("/proc/self/status", "rb") as file:
        permitted = next(int(line.split()[1], 16) for line in file if line.startswith(b"CapPrm"))
    if permitted & 1 << kernel.CAP_SETPCAP:
        kernel.drop_bounding_capabilities()
    libc = ctypes.CDLL(None, use_errno=True)
    if uid and os.geteuid() == 0:
        libc.prctl(_PR_SET_KEEPCAPS, ctypes.c_ulong(1), 0, 0, 0)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    kept = permitted & 1 << _CAP_SYS_PTRACE
    header = (ctypes.c_uint32 * 2)(kernel.CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    if libc.syscall(_NR_CAPSET[os.uname().machine], header, sets) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"capset: {os.strerror(code)}")


def _servers(path: str) -> dict[int, str]:
    """The host's name servers: 128-bit address → text."""
    try:
        with open(path, "rb") as file:
            text = file.read(65_536).decode(errors="replace")
    except OSError:
        text = ""
    return {egress.number(server): server for server in egress.resolvers(text)}


def _serve(link: socket.socket, resolver_path: str) -> int:
    loop = Loop()
    broker = Broker(loop, _servers(resolver_path))
    link.setblocking(False)
    loop.add(link.fileno(), lambda: _read_order(link, broker, loop))
    return loop.run()


def _read_order(link: socket.socket, broker: Broker, loop: Loop) -> None:
    try:
        packet = descriptors.receive(link, _MESSAGE_MAX)
    except BlockingIOError:
        return
    except (descriptors.PacketError, OSError):
        loop.stop(1)
        return
    if not packet.content:
        loop.stop(0)
        return
    kind, _, instance = _MESSAGE.unpack_from(packet.content)
    if kind == _FORGET:
        broker.forget(instance)
        return
    try:
        allowed = egress.unpack_allow(packet.content[_MESSAGE.size :])
        broker.adopt(instance, packet.descriptors.pop(), allowed)
    except (ValueError, IndexError, OSError) as error:
        with contextlib.suppress(OSError):
            os.write(2, f"egress broker: {error}\n".encode())
    finally:
        descriptors.close_all(packet.descriptors)
