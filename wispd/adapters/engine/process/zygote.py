"""The process members are forked from: interpreter, standard library and `wisp` loaded, no function.

Started by the launcher inside a finished root with an empty environment (clearing it later would leave it readable in
/proc/self/environ of every fork), orders on descriptor 3, reports on 4. A layer zygote is the same loop in a sandbox
of its own, after it has imported foreign code; it is privileged only inside its own user namespace.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
from types import ModuleType
from typing import Final, NoReturn

from wispd.adapters.engine.process import descriptors, kernel, layers, member, orders, rootfs, seccomp
from wispd.adapters.engine.process.orders import ForkOrder, ZygoteSettings

OOM_SCORE: Final = 500  # inherited by members: under memory pressure of the host they go before anything of ours
FREED_KEPT_BYTES: Final = 32 << 20  # the largest body and its copies: the next call finds their pages mapped
_HIDDEN: Final[list[ModuleType]] = []  # our own modules, alive but not importable
_ORDER_MAX: Final = 65_536
_NETWORKS: Final = ("egress", "none", "private")
_LAYER_NAMESPACES: Final = member.NAMESPACES | kernel.NEWUSER


def main() -> None:
    """Load the runtime and fork members until the orders end."""
    link = socket.socket(fileno=orders.ORDERS_FD)
    reports = socket.socket(fileno=orders.REPORTS_FD)
    raw = json.loads(link.recv(_ORDER_MAX))
    settings = ZygoteSettings(raw["mode"], tuple(raw["path"]), raw["uid_first"], raw["uid_count"])
    _prepare(settings)
    _settle()
    reports.send(orders.REPORT.pack(orders.ZYGOTE_READY, 1, 0))
    serve(settings, link, reports)


def serve(settings: ZygoteSettings, link: socket.socket, reports: socket.socket) -> None:
    """Follow orders until their end. Forks and goes on: a member's life is none of the zygote's business."""
    while True:
        packet = descriptors.receive(link, _ORDER_MAX)
        if not packet.content:
            return
        kind, network, bits, uid, number, scratch_bytes = orders.ORDER.unpack(packet.content)
        order = ForkOrder(
            number,
            uid,
            _NETWORKS[network],
            scratch_bytes,
            rehearse=bool(bits & orders.REHEARSE),
            own_network=not bits & orders.NETWORK,
        )
        try:
            if kind == orders.FORK:
                _fork_member(settings, order, packet.descriptors)
            elif kind == orders.LAYER:
                _fork_layer(settings, uid, packet.descriptors)
        except OSError as error:
            text = str(error).encode()[:512]
            reports.send(orders.REPORT.pack(orders.FAILED, 0, number) + text)
        finally:
            descriptors.close_all(packet.descriptors)


def _prepare(settings: ZygoteSettings) -> None:
    sys.path[:] = [path for path in sys.path if path != rootfs.BOOT_PATH and path not in settings.path]
    sys.path.extend(settings.path)
    from wisp import runtime  # noqa: PLC0415 - its place is known only now

    runtime.preload()
    # At process level `wisp` lives beside `wispd`, and members would find it there: the loaded one has to do.
    if settings.mode == "process":
        sys.path[:] = [path for path in sys.path if path not in settings.path]
    else:
        kernel.unmount(f"{rootfs.BOOT_PATH}/wispd")
        if settings.mode == "root":
            kernel.drop_bounding_capabilities()  # members inherit it; what we hold ourselves stays
    sys.argv[:] = [""]
    # Only `wisp` is to be found inside. Here, once, because in a member it would write to a page for every object.
    _HIDDEN.extend(sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "wispd")
    os.environ.clear()  # the interpreter itself may have set LC_CTYPE
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(OOM_SCORE))


def _settle() -> None:
    """Leave the heap so that a fork copies as few pages as possible."""
    kernel.keep_freed_memory(FREED_KEPT_BYTES)
    gc.collect()
    gc.freeze()
    gc.disable()


def _fork_member(settings: ZygoteSettings, order: ForkOrder, given: list[int]) -> None:
    link, log = given[:2]
    flags = kernel.CLONE_PARENT
    if settings.mode != "process":
        flags |= member.NAMESPACES
    if settings.mode == "user":
        flags |= kernel.NEWUSER
    if not order.own_network:
        kernel.setns(given[2], kernel.NEWNET)  # we need none ourselves, and stay until the next
        flags &= ~kernel.NEWNET
    if kernel.clone(flags) == 0:
        member.become(order, settings.mode, link=link, log=log)


def _fork_layer(settings: ZygoteSettings, uid: int, given: list[int]) -> None:
    """Make a layer's sandbox and its zygote: two siblings of ours, the first is PID 1 of the namespace of both.

    The zygote can't be that PID 1 itself, because the kernel lets no PID 1 make siblings, and members have to be
    children of the launcher, which alone learns how they end.
    """
    link, reports = given
    mapped, map_done = os.pipe()
    first = kernel.clone(_LAYER_NAMESPACES | kernel.CLONE_PARENT)
    if first == 0:
        _layer_init(mapped, map_done, reports)
    os.close(mapped)
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    pidfd = os.pidfd_open(first)
    try:
        _write_maps(settings, first, uid)
        os.write(map_done, b"m")
        kernel.setns(pidfd, kernel.NEWPID)
        try:
            if kernel.clone(kernel.CLONE_PARENT) == 0:
                _layer_zygote(settings, pidfd, link=link, reports=reports)
        finally:
            kernel.setns(own, kernel.NEWPID)
    finally:
        descriptors.close_all([map_done, own, pidfd])


def _write_maps(settings: ZygoteSettings, pid: int, uid: int) -> None:
    """Map root inside to a leased uid, and the instances' uids to themselves; unprivileged: only our own."""
    if settings.mode == "root":
        text = f"0 {uid} 1\n{settings.uid_first} {settings.uid_first} {settings.uid_count}\n"
    else:
        text = "0 0 1\n"
        with open(f"/proc/{pid}/setgroups", "w") as file:
            file.write("deny")
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(text)


def _layer_init(mapped: int, map_done: int, reports: int) -> NoReturn:
    """Be the first process of a layer's sandbox: own its namespaces, reap, do nothing else."""
    try:
        os.close(map_done)
        if os.read(mapped, 1) != b"m":
            os._exit(member.EXIT_BROKEN)
        os.dup2(reports, orders.REPORTS_FD, inheritable=False)
        os.closerange(orders.REPORTS_FD + 1, 1 << 20)
        os.close(orders.ORDERS_FD)
        _become_inner_root()
        rootfs.mount_proc()
        rootfs.mount_scratch(layers.SCRATCH_BYTES)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        own_reports = socket.socket(fileno=orders.REPORTS_FD)
        own_reports.send(orders.REPORT.pack(orders.LAYER_INIT, 0, 0))
        while own_reports.recv(1):  # its end is the end of this sandbox and of all in it
            pass
    finally:
        os._exit(member.EXIT_BROKEN)


def _layer_zygote(settings: ZygoteSettings, pidfd: int, *, link: int, reports: int) -> NoReturn:
    """Enter the sandbox, wait for the layer to be mounted, import it, and fork members from then on."""
    try:
        kernel.setns(pidfd, _LAYER_NAMESPACES & ~kernel.NEWPID)
        _become_inner_root()
        kernel.drop_bounding_capabilities()
        os.dup2(link, orders.ORDERS_FD, inheritable=False)
        os.dup2(reports, orders.REPORTS_FD, inheritable=False)
        os.closerange(orders.REPORTS_FD + 1, 1 << 20)
        own_link = socket.socket(fileno=orders.ORDERS_FD)
        own_reports = socket.socket(fileno=orders.REPORTS_FD)
        own_reports.send(orders.REPORT.pack(orders.LAYER_ZYGOTE, 0, 0))
        if own_link.recv(_ORDER_MAX):
            seccomp.guard()  # what is imported now could change how members lock themselves
            threads = layers.import_all()
            _settle()
            own_reports.send(orders.REPORT.pack(orders.ZYGOTE_READY, min(threads, 65_535), 0))
            serve(settings, own_link, own_reports)
    finally:
        os._exit(0)


def _become_inner_root() -> None:
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    kernel.die_with_parent()
    kernel.set_dumpable(True)
