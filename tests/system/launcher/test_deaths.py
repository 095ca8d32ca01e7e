"""Deaths: whoever is killed, nothing is left; out of memory ends the whole instance and says so."""

from __future__ import annotations

import glob
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from launcherbox import MIB, Box, send_call

from wispd.adapters.engine.process.groups import group_name
from wispd.adapters.engine.process.making import PACKAGES
from wispd.ports.engine import ExitCause

MakeBox = Callable[..., Box]
EATER = """
import os, subprocess, sys
def handle(event, context):
    eat = "x = []\\nwhile True: x.append(bytearray(1 << 20))"
    if {child}:
        pid = os.fork()
        if pid == 0:
            exec(eat)
        os.waitpid(pid, 0)
        return "lived on"
    exec(eat)
"""


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.split("/")[2]))
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        found.add(one)
        todo.extend(children.get(one, ()))
    return found


def alive(pids: set[int]) -> set[int]:
    living = set()
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] != "Z":
                    living.add(pid)
        except OSError:
            continue
    return living


def all_gone(pids: set[int], *, within_s: float = 5.0) -> set[int]:
    """Those still alive when the time is up."""
    end = time.monotonic() + within_s
    while (left := alive(pids)) and time.monotonic() < end:
        time.sleep(0.01)
    return left


def groups_of(box: Box) -> list[str]:
    return glob.glob(f"/sys/fs/cgroup/**/{group_name(box.data)}", recursive=True)


def running(box: Box) -> set[int]:
    """All processes of a launcher with two instances that would never end by themselves."""
    code = box.deploy("import time\ndef handle(event, context):\n    time.sleep(3600)\n")
    for _ in range(2):
        send_call(box.start(code))
    return family(box.launcher.process.pid)


def first_process(box: Box) -> int:
    """PID 1 of the launcher's namespace: the shell's only child."""
    shell = box.launcher.process.pid
    with open(f"/proc/{shell}/task/{shell}/children") as file:
        (child,) = file.read().split()
    return int(child)


@pytest.mark.parametrize("victim", ["shell", "first"])
def test_nothing_survives_a_killed_launcher(own_box: MakeBox, victim: str) -> None:
    box = own_box()
    pids = running(box)
    assert len(pids) >= 5
    os.kill(box.launcher.process.pid if victim == "shell" else first_process(box), signal.SIGKILL)
    box.launcher.process.wait(10)
    assert all_gone(pids) == set()
    box.until(lambda: "lost" in box.events.changes)


def test_the_next_launcher_removes_what_the_former_left(own_box: MakeBox) -> None:
    box = own_box()
    running(box)
    box.launcher.process.kill()
    box.launcher.process.wait(10)
    box.until(lambda: "lost" in box.events.changes)
    box.launcher.boot.close()
    box.launch()
    assert box.events.changes == ["lost", "restored"]
    started = box.start(box.deploy())
    assert box.call(started) is not None
    for path in groups_of(box):
        assert len(glob.glob(f"{path}/*/")) <= 4  # this one's instance and pool
    box.engine.close()
    box.launcher.close()
    assert groups_of(box) == []


def test_everything_ends_with_the_supervisor(own_box: MakeBox) -> None:
    box = own_box()
    pids = running(box)
    box.launcher.boot.close()
    assert box.launcher.process.wait(10) == 0
    assert all_gone(pids) == set()
    assert groups_of(box) == []


PARENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from wispd.adapters.engine.process import spawn
from wispd.adapters.engine.process.config import LauncherSettings
launcher = spawn.start_launcher(LauncherSettings.from_json(sys.argv[2]))
launcher.wait_ready()
print(launcher.process.pid, flush=True)
time.sleep(3600)
"""


def test_nothing_survives_a_killed_parent(own_box: MakeBox) -> None:
    box = own_box()
    box.engine.close()
    box.launcher.close()
    interpreter = box.executable or sys.executable
    arguments = [*box.prefix, interpreter, "-I", "-S", "-c", PARENT, PACKAGES, box.settings.to_json()]
    with subprocess.Popen(arguments, env={}, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = family(int(parent.stdout.readline()))
        time.sleep(0.2)
        pids |= family(min(pids))
        parent.kill()
    assert len(pids) >= 4
    assert all_gone(pids) == set()
    assert groups_of(box) == []


def test_a_launcher_refuses_a_level_this_host_does_not_give(own_box: MakeBox) -> None:
    with pytest.raises(RuntimeError, match="75"):
        own_box(mode="process", level="namespaces")


def test_a_terminated_launcher_leaves_nothing(own_box: MakeBox) -> None:
    box = own_box()
    pids = running(box)
    box.launcher.process.send_signal(signal.SIGTERM)
    box.launcher.process.wait(10)
    assert all_gone(pids) == set()
    assert groups_of(box) == []


def test_instances_end_with_their_gateway(own_box: MakeBox) -> None:
    box = own_box()
    running(box)
    instances = {started.instance for started in box.started}
    for started in list(box.started):
        os.set_blocking(started.log_fd, True)
    link = box.launcher.replace_gateway()  # the supervisor brings another gateway
    for started in list(box.started):
        assert os.read(started.log_fd, 1) == b""  # the end: every process of the instance is gone
    box.engine.connect(link.detach())
    box.until(lambda: box.events.changes == ["lost", "restored"])
    assert instances.isdisjoint(box.events.exits)  # nobody tells the new gateway about the old one's instances
    assert box.call(box.start(box.deploy())) is not None


def test_garbage_from_a_gateway_ends_the_connection_only(own_box: MakeBox) -> None:
    box = own_box()
    started = box.start(box.deploy())
    for garbage in (b"\xff", b"\x01" * 30, b"\x02", b"\x04" + bytes(500), os.urandom(2000)):
        box.engine._send(garbage)
        box.until(lambda: not box.engine.level)
        box.engine.connect(box.launcher.replace_gateway().detach())
        box.until(lambda: bool(box.engine.level))
    assert box.call(box.start(box.deploy())) is not None
    box.release(started)


@pytest.mark.needs_root
@pytest.mark.parametrize("child", [False, True], ids=["itself", "child"])
def test_out_of_memory_ends_the_whole_instance(own_box: MakeBox, user: bool, child: bool) -> None:
    if user:
        pytest.skip("an unprivileged user has no control group here")
    box = own_box()
    if box.engine.level != "full":
        pytest.skip("no memory control group")
    started = box.start(box.deploy(EATER.format(child=child)), memory_bytes=64 * MIB, scratch_bytes=16 * MIB)
    send_call(started)
    exited = box.exit_of(started)
    assert exited.cause == ExitCause.MEMORY_EXHAUSTED
    assert exited.peak_bytes > 60 * MIB


@pytest.mark.needs_root
def test_scratch_counts_as_memory(own_box: MakeBox, user: bool) -> None:
    if user:
        pytest.skip("an unprivileged user has no control group here")
    box = own_box()
    source = """
def handle(event, context):
    with open("/tmp/big", "wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
"""
    started = box.start(box.deploy(source), memory_bytes=48 * MIB, scratch_bytes=48 * MIB)
    send_call(started)
    assert box.exit_of(started).cause == ExitCause.MEMORY_EXHAUSTED


@pytest.mark.needs_root
def test_a_fork_bomb_stays_inside(own_box: MakeBox, user: bool) -> None:
    if user:
        pytest.skip("an unprivileged user has no control group here")
    box = own_box()
    source = """
import os, time
def handle(event, context):
    made = 0
    try:
        while True:
            if os.fork() == 0:
                time.sleep(3600)
            made += 1
    except OSError:
        return made
"""
    started = box.start(box.deploy(source), pids_max=32)
    frame = box.call(started)
    assert frame is not None
    assert 20 < int(frame.body) < 32
    assert box.stop(started).cause == ExitCause.STOPPED
