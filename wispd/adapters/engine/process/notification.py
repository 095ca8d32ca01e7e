"""The kernel's side of the broker: receive a held system call, look at its caller, put a socket into it, answer it.

Nothing is decided here. Every function takes numbers from a hostile process and raises `OSError` at worst.
Source: Documentation/userspace-api/seccomp_filter.rst, man seccomp_unotify(2), pidfd_getfd(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import socket
from dataclasses import dataclass
from struct import Struct
from typing import Final

from wispd.adapters.engine.process import syscalls

_NOTIFICATION: Final = Struct("<QIIiIQ6Q")  # id, pid, flags, then struct seccomp_data
_RESPONSE: Final = Struct("<QqiI")  # id, value, error, flags
_ADD_DESCRIPTOR: Final = Struct("<QIIII")  # id, flags, source, target, target flags
_RECEIVE, _SEND, _ID_VALID, _ADD = 0xC050_2100, 0xC018_2101, 0x4008_2102, 0x4018_2103
_CONTINUE: Final = 1
_ADD_AT_NUMBER: Final = 1
_RECEIVE_PATIENCE_S: Final = 0.05

_NR_PIDFD_GETFD: Final = 438
_NR_READ_MEMORY: Final = {"x86_64": 310, "aarch64": 270}.get(platform.machine(), -1)
_SO_NETNS_COOKIE: Final = 71
ADDRESS_MAX: Final = 128  # sizeof(struct sockaddr_storage)

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
CALLS: Final = {
    number: name
    for name, number in syscalls.numbers(syscalls.EXAMINED, platform.machine()).items()
    if name in {"connect", "bind", "listen"}
}


class _Span(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


@dataclass(frozen=True, slots=True)
class Notification:
    """One held call: `tid` is the calling thread, `call` the name or "" for one that was not expected."""

    id: int
    tid: int
    call: str
    arguments: tuple[int, ...]


class StaleError(OSError):
    """The caller is gone, or a signal took its call back: there is nobody to answer."""


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return int(result)


def _control(notifier: int, request: int, content: bytes | ctypes.Array[ctypes.c_char], what: str) -> int:
    result = _LIBC.ioctl(notifier, ctypes.c_ulong(request), content)
    if result < 0 and ctypes.get_errno() == errno.ENOENT:
        raise StaleError(errno.ENOENT, what)
    return _check(result, what)


def is_notifier(fd: int) -> bool:
    """Is this descriptor really a seccomp listener? It came from a process that may have run foreign code."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:seccomp notify"
    except OSError:
        return False


def receive(notifier: int) -> Notification:
    """Take one held call; only when the listener is readable. Raises `StaleError`, or `InterruptedError` when
    somebody else, who should not have the listener, was faster. Needs a SIGALRM handler.
    """
    buffer = ctypes.create_string_buffer(_NOTIFICATION.size)
    signal.setitimer(signal.ITIMER_REAL, _RECEIVE_PATIENCE_S)
    try:
        _control(notifier, _RECEIVE, buffer, "receive a notification")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    id_, tid, _, number, _, _, *arguments = _NOTIFICATION.unpack(buffer.raw)
    return Notification(id_, tid, CALLS.get(number, ""), tuple(arguments))


def is_valid(notifier: int, id_: int) -> bool:
    """Is the call still held? Whatever was read by its pid before a True belongs to its caller."""
    return int(_LIBC.ioctl(notifier, ctypes.c_ulong(_ID_VALID), id_.to_bytes(8, "little"))) == 0


def answer(notifier: int, id_: int, error: int) -> None:
    """End the call with success (0) or an error number. Raises `StaleError`."""
    _control(notifier, _SEND, _RESPONSE.pack(id_, 0, -error, 0), "answer")


def go_on(notifier: int, id_: int) -> None:
    """Let the kernel make the call with the arguments as they are by then: only where all are harmless."""
    _control(notifier, _SEND, _RESPONSE.pack(id_, 0, 0, _CONTINUE), "continue")


def put_descriptor(notifier: int, id_: int, fd: int, *, at: int, close_on_exec: bool) -> None:
    """Install our `fd` in the caller as its descriptor `at`, replacing what was there. Raises `StaleError`."""
    flags = os.O_CLOEXEC if close_on_exec else 0
    _control(notifier, _ADD, _ADD_DESCRIPTOR.pack(id_, _ADD_AT_NUMBER, fd, at, flags), "put a descriptor")


def read_memory(tid: int, address: int, size: int) -> bytes:
    """Copy bytes of another process. Raises `OSError` (EFAULT, EPERM, ESRCH)."""
    buffer = ctypes.create_string_buffer(size)
    ours = _Span(ctypes.addressof(buffer), size)
    theirs = _Span(address & (1 << 64) - 1, size)
    one = ctypes.c_ulong(1)
    arguments = (tid, ctypes.byref(ours), one, ctypes.byref(theirs), one, ctypes.c_ulong(0))
    got = _check(_LIBC.syscall(_NR_READ_MEMORY, *arguments), "process_vm_readv")
    if got != size:
        raise OSError(errno.EFAULT, "the address is only partly readable")
    return buffer.raw


def group_of(tid: int) -> int:
    """The process a thread belongs to. Raises `OSError`."""
    with open(f"/proc/{tid}/status", "rb") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(b"Tgid:"))


def duplicate(one: socket.socket) -> socket.socket:
    """Another descriptor of the same open file. `socket.dup` would change its flags, which are the sandbox's."""
    return socket.socket(fileno=os.dup(one.fileno()))


def take_socket(pidfd: int, fd: int) -> socket.socket:
    """Duplicate a socket of another process: the same open file, whatever happens to the number there.

    Raises `OSError`: EBADF, ENOTSOCK, ESRCH, EPERM.
    """
    number = _check(_LIBC.syscall(_NR_PIDFD_GETFD, pidfd, ctypes.c_int(fd & 0xFFFF_FFFF), 0), "pidfd_getfd")
    try:
        return socket.socket(fileno=number)
    except OSError:
        os.close(number)
        raise


def closes_on_exec(tid: int, fd: int) -> bool:
    """Is descriptor `fd` of a thread close-on-exec? True when that can't be read."""
    try:
        with open(f"/proc/{tid}/fdinfo/{fd}", "rb") as file:
            flags = next(int(line.split()[1], 8) for line in file if line.startswith(b"flags:"))
    except (OSError, StopIteration, ValueError):
        return True
    return bool(flags & os.O_CLOEXEC)


def network_cookie(one: socket.socket) -> int:
    """The number of the network namespace a socket lives in, never used twice until reboot. Linux 5.14."""
    return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")


def connect(one: socket.socket, address: bytes) -> int:
    """Connect with a raw sockaddr; return 0 or the error number. Blocks when the socket does."""
    return 0 if _LIBC.connect(one.fileno(), address, len(address)) == 0 else ctypes.get_errno()


def bind(one: socket.socket, address: bytes) -> int:
    """Bind to a raw sockaddr; return 0 or the error number."""
    return 0 if _LIBC.bind(one.fileno(), address, len(address)) == 0 else ctypes.get_errno()


def listen(one: socket.socket, backlog: int) -> int:
    """Listen; return 0 or the error number."""
    return 0 if _LIBC.listen(one.fileno(), ctypes.c_int(backlog & 0xFFFF_FFFF)) == 0 else ctypes.get_errno()
