"""What this host lets a sandbox have: a matrix of named capabilities, and the level that follows from it.

`probe` looks (files, and forked children that try a step and end); `level` decides and is pure. Levels: `full`
(everything), `namespaces` (isolated, but limits or distinct uids are missing), `process` (no isolation between
functions: only for one's own code).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Final, Literal

from wispd.adapters.engine.process import cgroup, kernel, seccomp

LevelName = Literal["full", "namespaces", "process"]

PROBE_TIMEOUT_S: Final = 5.0

# What a sandbox is not a sandbox without; the rest raises `namespaces` to `full`.
REQUIRED: Final = (
    "namespaces",
    "identity",
    "mounts",
    "seccomp",
    "no_new_privs",
    "dropped_capabilities",
    "rlimits",
    "closed_descriptors",
)
OPTIONAL: Final = ("memory_limit", "cpu_limit", "pids_limit", "distinct_uids", "egress", "unix_sockets")
_FOR_FULL: Final = (*REQUIRED, "memory_limit", "cpu_limit", "pids_limit", "distinct_uids", "egress")


@dataclass(frozen=True, slots=True)
class Capability:
    """One row: `detail` says what was seen, `remedy` what would bring it (an id of `REMEDIES`, or "")."""

    name: str
    present: bool
    required: bool
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """The level's name, what keeps it from being the next one (sentences), and the remedies that would raise it."""

    name: LevelName
    reasons: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """One probing of one host."""

    kernel: str
    machine: str
    uid: int
    capabilities: tuple[Capability, ...]
    level: Level

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def has(self, name: str) -> bool:
        return any(one.present for one in self.capabilities if one.name == name)


def level(capabilities: Iterable[Capability]) -> Level:
    """Decide the level. A name that is missing from `capabilities` counts as absent."""
    found = {one.name: one for one in capabilities}
    lacking = [name for name in REQUIRED if name not in found or not found[name].present]
    name: LevelName = "process"
    if not lacking:
        lacking = [name for name in _FOR_FULL if name not in found or not found[name].present]
        name = "namespaces" if lacking else "full"
    rows = [found.get(one, Capability(one, False, one in REQUIRED, "not probed")) for one in lacking]
    reasons = tuple(f"{row.name}: {row.detail or 'missing'}" for row in rows)
    return Level(name, reasons, tuple(dict.fromkeys(row.remedy for row in rows if row.remedy)))


def probe() -> Report:
    """Try everything once. Forks a few children; takes about 20 ms. Call it from a process of one thread."""
    rows = tuple(_probe_all())
    return Report(platform.release(), platform.machine(), os.geteuid(), rows, level(rows))


def _probe_all() -> Iterable[Capability]:
    if not sys.platform.startswith("linux"):
        for name in (*REQUIRED, *OPTIONAL):
            yield Capability(name, False, name in REQUIRED, f"{sys.platform} has no such thing", "linux")
        return
    yield _tried("namespaces", _try_namespaces, _namespace_remedy())
    yield _identity()
    yield _tried("mounts", _try_mounts, "kernel_5_12")
    yield _tried("seccomp", _try_seccomp, "kernel_5_12")
    yield _tried("no_new_privs", kernel.no_new_privileges)
    yield _tried("dropped_capabilities", _try_dropping)
    yield _tried("rlimits", _try_limit)
    yield Capability("closed_descriptors", True, True, "close_range")
    yield from _limits()
    root = os.geteuid() == 0
    yield Capability("distinct_uids", root, False, _UIDS[root], "" if root else "run_as_root")
    yield _tried("egress", _try_egress, "kernel_5_14")
    abi = seccomp.landlock_abi()
    unix = abi >= seccomp.LANDLOCK_TCP_ABI
    yield Capability(
        "unix_sockets", unix, False, f"Landlock ABI {abi} (egress needs 4)", "" if unix else "kernel_6_7"
    )


_UIDS: Final = {True: "a leased uid for each instance", False: "instances share your own uid"}


def _tried(name: str, attempt: Callable[[], object], remedy: str = "") -> Capability:
    failure = in_child(attempt)
    return Capability(name, not failure, name in REQUIRED, failure or "works", remedy if failure else "")


def in_child(attempt: Callable[[], object], timeout_s: float = PROBE_TIMEOUT_S) -> str:
    """Run `attempt` in a forked child; return "" when it returned, else why not. Never raises, never hangs."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = ""
        try:
            attempt()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):
            os.write(writing, (text or "ok").encode()[:400])
        os._exit(0)
    os.close(writing)
    answer = b""
    try:
        if select.select([reading], [], [], timeout_s)[0]:
            answer = os.read(reading, 400)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if not answer:
        return f"the attempt ended without an answer within {timeout_s:g} s"
    return "" if answer == b"ok" else answer.decode(errors="replace")


def _enter() -> None:
    """Become the first process of fresh namespaces, as a member does."""
    flags = kernel.NEWNS | kernel.NEWNET | kernel.NEWIPC | kernel.NEWUTS | kernel.NEWPID
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(flags if uid == 0 else flags | kernel.NEWUSER)
    if uid != 0:
        for path, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{path}", "w") as file:
                file.write(text)
    kernel.mount(None, "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)


def _try_namespaces() -> None:
    _enter()
    pid = os.fork()  # the child is PID 1 of the new pid namespace and may mount its /proc
    if pid == 0:
        try:
            kernel.mount("proc", "/proc", "proc", flags=kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, f"mount /proc in the new namespace: {os.strerror(code)}")


def _try_mounts() -> None:
    """Clone a mount and make the clone read-only: open_tree (5.2) and mount_setattr (5.12)."""
    with contextlib.suppress(OSError):
        _enter()
    try:
        tree = kernel.open_tree(kernel.AT_FDCWD, "/", recursive=True)
        kernel.mount_setattr(tree, attributes=kernel.ATTR_RDONLY, recursive=True)
    except PermissionError as error:
        raise OSError(error.errno, f"{error.strerror} (namespaces come first)") from None


def _identity() -> Capability:
    if os.geteuid() == 0:
        failure = in_child(lambda: os.setresuid(65534, 65534, 65534))
        return Capability("identity", not failure, True, failure or "uids change", "")
    failure = in_child(_enter)
    return Capability("identity", not failure, True, failure or "own user namespace", failure and _namespace_remedy())


def _try_seccomp() -> None:
    seccomp.install("none")
    try:
        os.stat("/proc/self/status")
        kernel.unshare(0)
    except PermissionError:
        return
    raise OSError("the filter is installed, but a refused call went through")


def _try_dropping() -> None:
    kernel.clear_capabilities()
    with open("/proc/self/status") as file:
        effective = next(line.split()[1] for line in file if line.startswith("CapEff"))
    if int(effective, 16):
        raise OSError(f"capabilities stay: {effective}")


def _try_limit() -> None:
    import resource  # noqa: PLC0415 - Linux only, like this probe

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _try_egress() -> None:
    """A listener for the broker, taking another process's descriptor, and telling network namespaces apart."""
    with socket.socket(socket.AF_UNIX) as one:
        one.getsockopt(socket.SOL_SOCKET, 71, 8)  # SO_NETNS_COOKIE, Linux 5.14
    _take_descriptor_of_child()
    if seccomp.install("egress") is None:
        raise OSError("the kernel gave no listener")


def _take_descriptor_of_child() -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        pidfd = os.pidfd_open(pid)
        number = 438  # pidfd_getfd, the same everywhere
        if ctypes.CDLL(None, use_errno=True).syscall(number, pidfd, 0, 0) < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"pidfd_getfd: {os.strerror(code)} (kernel.yama.ptrace_scope must be below 3)")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _limits() -> Iterable[Capability]:
    """Which control-group controllers we may use, by looking at who may write where. Makes nothing."""
    found = cgroup.places()
    offered = set(found.one)
    if found.two and os.access(found.two, os.W_OK):
        with contextlib.suppress(OSError):
            offered |= set(cgroup.read(f"{found.two}/cgroup.controllers").split())
    for controller in cgroup.CONTROLLERS:
        directory = found.one.get(controller, found.two)
        present = controller in offered and bool(directory) and os.access(directory, os.W_OK)
        detail = directory if present else "no writable control group hands this controller to us"
        yield Capability(f"{controller}_limit", present, False, detail, "" if present else "delegation")


def _namespace_remedy() -> str:
    """Which of the known locks keeps an ordinary user from making namespaces."""
    if _sysctl("kernel/apparmor_restrict_unprivileged_userns") == 1:
        return "apparmor"
    if _sysctl("kernel/unprivileged_userns_clone") == 0:
        return "userns_clone"
    if _sysctl("user/max_user_namespaces") == 0:
        return "max_user_namespaces"
    return "container"


def _sysctl(name: str) -> int | None:
    try:
        return int(cgroup.read(f"/proc/sys/{name}"))
    except (OSError, ValueError):
        return None
