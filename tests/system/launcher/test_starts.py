"""Starts: from the pool and by fork, what an instance is, how it ends."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from launcherbox import HANDLER, MIB, Box, open_descriptors, send_call

from wispd.adapters.engine.process import runtimes
from wispd.ports.engine import ExitCause

INSIDE = """
import os, sys
def handle(event, context):
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    return {
        "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "pid": os.getpid(),
        "root": sorted(os.listdir("/")), "environ": open("/proc/self/environ").read(),
        "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")),
        "status": {k: status[k] for k in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")},
        "platform": [name for name in sys.modules if name.split(".")[0] == "wispd"], "path": sys.path,
        "pids": [name for name in os.listdir("/proc") if name.isdigit()],
        "links": [os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2, 3)],
    }
"""
WRITES = """
import os, errno
def attempt(path):
    try:
        with open(path, "w") as file: file.write("x")
        return "written"
    except OSError as error:
        return errno.errorcode[error.errno]
def handle(event, context):
    return {path: attempt(path) for path in ("/app/x", "/x", "/runtime/wisp/x", "/etc/hosts", "/tmp/x", "/dev/shm/x")}
"""


def test_an_instance_is_alone_and_powerless(box: Box, user: bool) -> None:
    seen = box.value(INSIDE)
    assert seen["pid"] == 1
    assert seen["pids"] == ["1"]
    assert seen["uid"] not in (0, os.getuid())
    assert seen["uid"] == seen["gid"]
    assert set(seen["groups"]) <= {seen["gid"], 65_534}
    zeros = "0" * 16
    capabilities = dict.fromkeys(("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"), zeros)
    assert seen["status"] == capabilities | {"NoNewPrivs": "1", "Seccomp": "2"}
    assert seen["environ"] == ""
    assert seen["descriptors"] == [0, 1, 2, 3]
    assert seen["links"][0] == "/dev/null"
    assert seen["platform"] == []
    assert not {"home", "mnt", "sys", "var", "work"} & set(seen["root"])


def test_only_scratch_is_writable(box: Box) -> None:
    seen = box.value(WRITES)
    assert seen.pop("/tmp/x") == "written"
    assert seen.pop("/dev/shm/x") == "written"
    assert set(seen.values()) <= {"EROFS", "EACCES"}


def test_scratch_has_the_size_that_was_asked(box: Box) -> None:
    source = "import os\ndef handle(event, context):\n    s = os.statvfs('/tmp'); return s.f_blocks * s.f_frsize\n"
    assert box.value(source) == 128 * MIB
    assert box.value(source, scratch_bytes=8 * MIB) == 8 * MIB


def test_pool_hit_then_miss(box: Box) -> None:
    code = box.deploy()
    assert any(box.start(code).pooled for _ in range(100))
    several = [box.ask(code) for _ in range(8)]
    box.until(lambda: all(ticket in box.events.starts for ticket in several))
    starts = [box.events.starts[ticket] for ticket in several]
    box.started.extend(starts)
    assert not all(started.pooled for started in starts)
    assert len({started.instance for started in starts}) == 8
    for started in starts:
        frame = box.call(started)
        assert frame is not None
        assert frame.body == b"hello"
    for started in list(box.started):
        box.stop(started)
        box.release(started)


def test_code_that_is_not_there_is_refused(box: Box) -> None:
    ticket = box.ask("0" * 63 + "1")
    box.until(lambda: ticket in box.events.faults)
    assert box.events.faults[ticket].facts["reason"] == "code_missing"


def test_a_link_in_place_of_code_is_refused(box: Box) -> None:
    digest = "1" * 64
    os.symlink("/etc", f"{box.data}/code/{digest}")
    ticket = box.ask(digest)
    box.until(lambda: ticket in box.events.faults)
    assert box.events.faults[ticket].facts["reason"] == "code_missing"


def test_runtime_that_is_not_there_is_refused_by_name(box: Box) -> None:
    ticket = box.ask(box.deploy(), runtime="python3.20")
    box.until(lambda: ticket in box.events.faults)
    assert "python3" in box.events.faults[ticket].message
    assert box.events.faults[ticket].facts["reason"] == "runtime_missing"


def test_other_interpreters_of_the_host_run_functions(box: Box, user: bool) -> None:
    others = [name for name in runtimes.available() if name not in ("python3", f"python3.{sys.version_info[1]}")]
    if user or not others:
        pytest.skip("this host has no other interpreter (that an unprivileged user can reach)")
    source = "import sys\ndef handle(event, context):\n    return list(sys.version_info[:2])\n"
    for name in others:
        assert box.value(source, runtime=name) == [3, int(name.partition(".")[2])]


def test_stop_kills_everything_inside(box: Box) -> None:
    source = """
import os, time
def handle(event, context):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)
    return "left"
"""
    started = box.start(box.deploy(source))
    assert box.call(started) is not None
    exited = box.stop(started)
    assert exited.cause == ExitCause.STOPPED
    assert exited.cpu_ns > 0
    assert os.read(started.log_fd, 10) == b""  # every writer of the log pipe is gone
    box.release(started)


def test_end_of_the_link_ends_the_instance(box: Box) -> None:
    started = box.start(box.deploy())
    assert box.call(started) is not None
    os.close(started.link_fd)
    exited = box.exit_of(started)
    assert (exited.cause, exited.status) == (ExitCause.EXITED, 0)
    started_log = started.log_fd
    os.close(started_log)


def test_exit_code_is_told(box: Box) -> None:
    started = box.start(box.deploy("import os\ndef handle(event, context):\n    os._exit(7)\n"))
    send_call(started)
    exited = box.exit_of(started)
    assert (exited.cause, exited.status) == (ExitCause.EXITED, 7)
    box.release(started)


def test_signal_is_told(box: Box) -> None:
    started = box.start(box.deploy("import ctypes\ndef handle(event, context):\n    ctypes.string_at(0)\n"))
    send_call(started)
    exited = box.exit_of(started)
    assert (exited.cause, exited.status) == (ExitCause.SIGNALLED, signal.SIGSEGV)
    box.release(started)


def test_sample_tells_the_memory_of_running_instances(box: Box) -> None:
    started = box.start(box.deploy())
    assert box.call(started) is not None
    count = len(box.events.samples)
    box.engine.sample()
    box.until(lambda: len(box.events.samples) > count)
    assert dict(box.events.samples[-1])[started.instance] > 0
    box.stop(started)
    box.release(started)


def test_output_goes_to_the_log_pipe(box: Box) -> None:
    started = box.start(
        box.deploy("import os\ndef handle(event, context):\n    os.write(1, b'out'); os.write(2, b'err')\n")
    )
    assert box.call(started) is not None
    assert os.read(started.log_fd, 100) == b"outerr"
    box.stop(started)
    box.release(started)


@pytest.mark.slow
def test_two_hundred_starts_leave_nothing_behind(box: Box) -> None:
    code = box.deploy(HANDLER)
    box.stop(box.start(code))
    for started in list(box.started):
        box.release(started)
    before = open_descriptors()
    for _ in range(20):
        tickets = [box.ask(code) for _ in range(10)]
        box.until(lambda tickets=tickets: all(ticket in box.events.starts for ticket in tickets))
        for ticket in tickets:
            started = box.events.starts[ticket]
            frame = box.call(started)
            assert frame is not None
            assert frame.body == b"hello"
            box.stop(started)
            box.release(started)
    assert {entry.split()[0] for entry in open_descriptors()} == {entry.split()[0] for entry in before}
