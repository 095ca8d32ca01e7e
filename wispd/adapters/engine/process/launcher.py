"""The launcher's process: an outer shell that waits, and in it PID 1 of an own pid and mount namespace that does all.

Whoever kills either of them kills every sandbox and every mount: PID 1 dies with the shell (PDEATHSIG) and with the
supervisor (end of the boot descriptor), and the kernel ends a pid namespace with its PID 1. Control groups are plain
directories and outlive that: the shell removes them, or the next launcher of the same data directory does.
Standard library only; single-threaded.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import traceback
from dataclasses import replace
from typing import Final, NoReturn

from wispd.adapters.engine.process import kernel, modes, rootfs
from wispd.adapters.engine.process.cgroup import Groups
from wispd.adapters.engine.process.config import LauncherSettings
from wispd.adapters.engine.process.groups import find_groups
from wispd.adapters.engine.process.handover import Handover
from wispd.adapters.engine.process.leases import LAYER_UIDS, Leases, default_range
from wispd.adapters.engine.process.loop import Loop
from wispd.adapters.engine.process.networks import Networks
from wispd.adapters.engine.process.peer import Peer
from wispd.adapters.engine.process.protocol import LEVELS
from wispd.adapters.engine.process.service import Service, log
from wispd.adapters.engine.process.supervision import Supervision
from wispd.adapters.engine.process.world import World

EXIT_SUPERVISOR_GONE: Final = 0
EXIT_FAILED: Final = 75


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a launcher: `--boot-fd N --gateway-fd M JSON`. Does not return."""
    parser = argparse.ArgumentParser(prog="launcher")
    parser.add_argument("--boot-fd", type=int, required=True)
    parser.add_argument("--gateway-fd", type=int, default=-1)
    parser.add_argument("settings")
    given = parser.parse_args(arguments)
    settings = _complete(LauncherSettings.from_json(given.settings))
    groups = find_groups(settings.data, memory_bytes=settings.budget_bytes, clean=True)
    try:
        mode = modes.choose(settings.mode)
        modes.enter(mode)
    except OSError as error:
        log(f"no sandbox of mode {settings.mode} can be made here: {error}")
        sys.exit(EXIT_FAILED)
    settings = replace(settings, mode=mode)
    # The supervisor's end is an orderly end: whoever waits here removes the control groups, and a SIGKILL could not.
    kernel.die_with_parent(signal.SIGTERM)
    if mode == "process":
        kernel.become_subreaper()
        status = _run(settings, groups, boot=given.boot_fd, gateway=given.gateway_fd)
        groups.clean()
        sys.exit(status)
    pid = os.fork()  # the first child in the new pid namespace: its PID 1
    if pid == 0:
        os._exit(_first_process(settings, groups, boot=given.boot_fd, gateway=given.gateway_fd))
    _wait(pid, groups)


def _complete(settings: LauncherSettings) -> LauncherSettings:
    """Fill in a computed uid range, of which the first is the services'."""
    if settings.uid_first > 0 and settings.uid_count > LAYER_UIDS:
        return settings
    computed = default_range(settings.data)
    return replace(settings, uid_first=computed.first + 1, uid_count=computed.size - 1)


def _wait(pid: int, groups: Groups) -> NoReturn:
    """Be the shell: end with PID 1, and PID 1 with us."""

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor too, which decides
    os.closerange(3, 1 << 20)  # the supervisor must see the end of PID 1's descriptors, not of our copies
    _, status = os.waitpid(pid, 0)
    groups.clean()
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


def _first_process(settings: LauncherSettings, groups: Groups, *, boot: int, gateway: int) -> int:
    """In PID 1: private mounts, an own /proc, then serve."""
    try:
        kernel.die_with_parent()
        kernel.mount(None, "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
        rootfs.mount_proc()
        return _run(settings, groups, boot=boot, gateway=gateway)
    except Exception:  # the last place that can say what happened
        log(traceback.format_exc())
        return EXIT_FAILED


def _run(settings: LauncherSettings, groups: Groups, *, boot: int, gateway: int) -> int:
    _ready_process()
    loop = Loop()
    supervision = Supervision(socket.socket(fileno=boot), loop)
    world = _world(settings, groups, loop)
    if settings.level and LEVELS.index(world.level) < LEVELS.index(settings.level):
        supervision.failed(
            f"isolation level {settings.level} is asked for, this host gives {world.level}: wisp doctor"
        )
        return EXIT_FAILED
    service = Service(world)

    def connect(number: int) -> None:
        link = socket.socket(fileno=number)
        service.connect(Peer(loop, link, received=service.receive, ended=service.disconnect))

    loop.on_child(service.reap)
    if settings.mode == "process":  # otherwise the shell does it
        signal.signal(signal.SIGTERM, lambda *_: loop.stop(EXIT_SUPERVISOR_GONE))
    supervision.watch(connect=connect, gone=lambda: loop.stop(EXIT_SUPERVISOR_GONE))

    def failed(message: str) -> None:
        supervision.failed(message)
        loop.stop(EXIT_FAILED)

    service.on_ready(supervision.ready, failed=failed)
    service.open()
    if gateway >= 0:
        connect(gateway)
    gc.collect()
    gc.freeze()  # fewer pages copied when a zygote is forked, shorter collections
    status = loop.run()
    service.kill_all()
    return status


def _world(settings: LauncherSettings, groups: Groups, loop: Loop) -> World:
    count = settings.uid_count - LAYER_UIDS if settings.mode == "root" else 0
    # Without namespaces there is nothing a uid of its own would see; root still becomes somebody else.
    leases = Leases(settings.uid_first, count, shared=settings.service_uid if settings.mode == "process" else 0)
    layer_leases = Leases(settings.uid_first + count, LAYER_UIDS if count else 0)
    settings = replace(settings, uid_count=count)  # what layer sandboxes see: instances' uids only
    handover = None if settings.mode == "process" else Handover()
    world = World(
        settings,
        loop,
        groups=groups,
        leases=(leases, layer_leases),
        handover=handover,
        networks=Networks() if settings.mode == "root" else None,
    )
    missing = sorted({"memory", "cpu", "pids"} - groups.controllers)
    if missing:
        log(f"not limited, no writable control group: {', '.join(missing)}")
    log(f"level {world.level}, mode {world.mode}")
    return world


def _ready_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(OSError):
        kernel.set_name("wisp-launcher")


if __name__ == "__main__":
    main()
