"""From a forked copy of a zygote to a locked, rehearsed pool member that waits for its function."""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
from typing import Final, NoReturn

from wispd.adapters.engine.process import descriptors, kernel, networks, orders, rootfs
from wispd.adapters.engine.process.orders import ForkOrder

try:
    from wispd.adapters.engine.process import seccomp
except ImportError:  # pragma: no cover - a build without the filter says so in its level
    seccomp = None  # type: ignore[assignment]

NAMESPACES: Final = kernel.NEWNS | kernel.NEWPID | kernel.NEWNET | kernel.NEWIPC | kernel.NEWUTS
INSIDE_UID: Final = 1000  # what an unprivileged node's own uid is called inside
LINK_FD: Final = 3
FILES_MAX: Final = 1024
FILE_BYTES_MAX: Final = 2 << 30
PROCESSES_MAX: Final = 1024  # for the uid; the cgroup holds the real limit
EXIT_BROKEN: Final = 113  # the member could not be made; the reason went to the launcher


def become(order: ForkOrder, mode: str, *, link: int, log: int) -> NoReturn:
    """Turn this fresh fork into a member and serve. Never returns.

    Expects orders on 3 and reports on 4, as in a zygote. Whatever fails is reported; nothing half-locked runs.
    """
    status = EXIT_BROKEN
    try:
        _keep_only(link, log)
        reports = socket.socket(fileno=orders.REPORTS_FD)
        try:
            reports.send(orders.REPORT.pack(orders.BORN, 0, order.number))
            notifier = _lock(order, mode)
            if order.rehearse:
                _rehearse()
            _report(reports, orders.READY, order.number, notifier)
        except BaseException as error:
            text = f"{type(error).__name__}: {error}".encode()[:512]
            reports.send(orders.REPORT.pack(orders.FAILED, 0, order.number) + text)
            raise
        reports.close()
        status = _serve()
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 1
    finally:
        os._exit(status & 0xFF)


def _keep_only(link: int, log: int) -> None:
    """Leave /dev/null, the log pipe twice, the link and the reports open, and nothing else."""
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(link, LINK_FD, inheritable=False)
    os.closerange(orders.REPORTS_FD + 1, 1 << 20)


def _lock(order: ForkOrder, mode: str) -> int | None:
    """Take every right away; return the seccomp notifier for the broker, if the network mode has one."""
    if mode == "process":
        os.setsid()  # one kill reaches what it starts
    else:
        if mode == "user":
            map_own_ids(INSIDE_UID)
            kernel.drop_bounding_capabilities()
        _enter_namespaces(order)
    _limit(own_uid=mode == "root")
    if order.uid:
        os.setgroups([])
        os.setresgid(order.uid, order.uid, order.uid)
        os.setresuid(order.uid, order.uid, order.uid)
    if sys.platform.startswith("linux"):
        kernel.clear_capabilities()
        kernel.die_with_parent()
        kernel.set_dumpable(True)  # the uid change hid /proc/self from ourselves
        kernel.no_new_privileges()
    gc.enable()
    # Without a network namespace of its own there is nothing for the broker to tell inside from outside by.
    network = order.network if mode != "process" else "none"
    return seccomp.install(network) if seccomp is not None else None


def _enter_namespaces(order: ForkOrder) -> None:
    rootfs.mount_proc()
    rootfs.mount_scratch(order.scratch_bytes)
    kernel.set_hostname("instance")
    if order.own_network:
        networks.loopback_up()


def map_own_ids(inside: int) -> None:
    """Map the caller's uid and gid to `inside` in the user namespace it is the first process of."""
    with open("/proc/self/setgroups", "w") as file:
        file.write("deny")
    for name, outside in (("uid_map", 0), ("gid_map", 0)):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(f"{inside} {outside} 1")


def _limit(*, own_uid: bool) -> None:
    limits = {
        resource.RLIMIT_NOFILE: FILES_MAX,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: FILE_BYTES_MAX,
    }
    if own_uid:
        limits[resource.RLIMIT_NPROC] = PROCESSES_MAX
    for limit, wanted in limits.items():
        hard = resource.getrlimit(limit)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(limit, (value, value))


def _report(reports: socket.socket, kind: int, number: int, notifier: int | None) -> None:
    content = orders.REPORT.pack(kind, 0, number)
    descriptors.send(reports, content, [notifier] if notifier is not None else ())
    if notifier is not None:
        os.close(notifier)


def _rehearse() -> None:
    """Run the runtime's rehearsal, so that the pages it writes are copied now and not on somebody's cold start."""
    from wisp import runtime  # noqa: PLC0415 - preloaded by the zygote

    runtime.rehearse()


def _serve() -> int:
    from wisp import runtime  # noqa: PLC0415 - preloaded by the zygote

    runtime.serve(socket.socket(fileno=LINK_FD))
    return 0
