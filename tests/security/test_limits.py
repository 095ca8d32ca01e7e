"""Reliability cases E4 and E5 inside real instances: memory by every way there is, processes, threads, descriptors.

Control groups are root's (or delegated): where the launcher has none, the tests say so and skip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import launcherbox
import pytest
from launcherbox import MIB

from wispd.adapters.engine.process import capabilities
from wispd.ports.engine import ExitCause

MEMORY = 96 * MIB
MORE = "[b'x' * (1 << 20) for _ in range(400)]"
WAYS = {
    "objects": f"x = {MORE}",
    "mapping": "import mmap\n    m = mmap.mmap(-1, 400 << 20)\n    for at in range(0, 400 << 20, 4096): m[at] = 1",
    "scratch": "f = open('/tmp/big', 'wb')\n    for _ in range(90): f.write(b'x' * 2**20)\n    x = b'x' * (80 << 20)",
    "child": f"import os\n    if os.fork() == 0: x = {MORE}; os._exit(0)\n    os.wait()",
    "thread": f"import threading\n    t = threading.Thread(target=lambda: {MORE})\n    t.start(); t.join()",
}
USERS = [pytest.param(False, id="root", marks=pytest.mark.needs_root), pytest.param(True, id="user")]
SOURCE = "def handle(event, context):\n    {way}\n    return 'survived'\n"


@pytest.fixture(scope="module", params=USERS)
def box(request: pytest.FixtureRequest) -> Iterator[launcherbox.Box]:
    if request.param and not launcherbox.system_python_present():
        pytest.skip("uid 65534 can't run a Python here, or not read this repository")
    with launcherbox.box(user=request.param) as one:
        yield one


def limited(box: launcherbox.Box, name: str) -> None:
    here = os.geteuid() == 0 and not box.prefix and capabilities.probe().has(name)
    if not here:
        pytest.skip(f"this user has no writable control group for {name} (wisp doctor --fix says how to get one)")


@pytest.mark.parametrize("way", WAYS)
def test_memory_ends_the_whole_instance(box: launcherbox.Box, way: str) -> None:
    """E4: whichever process or file system took it, the caller is told `memory_exhausted`."""
    limited(box, "memory_limit")
    started = box.start(box.deploy(SOURCE.format(way=WAYS[way])), memory_bytes=MEMORY, scratch_bytes=MEMORY)
    launcherbox.send_call(started, memory_bytes=MEMORY)
    exited = box.exit_of(started)
    assert exited.cause == ExitCause.MEMORY_EXHAUSTED
    assert exited.peak_bytes > MEMORY // 2
    box.release(started)


def test_with_room_the_same_code_survives(box: launcherbox.Box) -> None:
    """The control: it was the limit that ended it."""
    source = SOURCE.format(way=WAYS["child"])
    started = box.start(box.deploy(source), memory_bytes=1024 * MIB, scratch_bytes=16 * MIB)
    frame = box.call(started)
    assert frame is not None
    assert frame.body == b"survived"
    box.stop(started)
    box.release(started)


BOMB = """
import os, threading, time
def forks():
    pids = []
    try:
        while len(pids) < 3000:
            pid = os.fork()
            if pid == 0:
                time.sleep(100)
            pids.append(pid)
        return -len(pids)
    except OSError:
        return len(pids)
def threads():
    count = 0
    try:
        while count < 3000:
            threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
            count += 1
        return -count
    except RuntimeError:
        return count
def handle(event, context):
    return {which}()
"""


@pytest.mark.parametrize("which", ["forks", "threads"])
def test_bombs_are_bounded_and_swept_away(box: launcherbox.Box, which: str) -> None:
    """E5: EAGAIN inside, nothing left outside."""
    limited(box, "pids_limit")
    started = box.start(box.deploy(BOMB.format(which=which)), pids_max=64)
    frame = box.call(started)
    assert frame is not None
    assert 0 < int(frame.body) <= 64
    box.stop(started)
    assert os.read(started.log_fd, 100) == b""  # every holder of the log pipe is gone
    box.release(started)


FILES = """
import errno, os, socket
def fill(make):
    kept = []
    try:
        while len(kept) < 100_000:
            kept.append(make())
        return "unbounded"
    except OSError as error:
        return errno.errorcode[error.errno]
def empty_file():
    open("/tmp/" + os.urandom(8).hex(), "w").close()
def handle(event, context):
    return [fill(lambda: os.open("/dev/null", 0)) if {files} else fill(empty_file)]
"""


@pytest.mark.parametrize(("files", "error"), [(True, "EMFILE"), (False, "ENOSPC")])
def test_descriptors_and_files_are_bounded(box: launcherbox.Box, files: bool, error: str) -> None:
    """E5: without control groups too."""
    assert box.value(FILES.format(files=files), scratch_bytes=16 * MIB) == [error]
