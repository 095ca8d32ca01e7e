"""Reliability group A inside real instances: what hostile code finds, as root's node and as an ordinary user's.

Each probe also runs outside, where it must find the opposite: a probe that can't see anything proves nothing.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import launcherbox
import pytest
from boxes import server

from wispd.adapters.engine.process import syscalls
from wispd.ports.engine import ExitCause

USERS = [pytest.param(False, id="root", marks=pytest.mark.needs_root), pytest.param(True, id="user")]
REFUSALS = {"EPERM", "ENOSYS"}


@pytest.fixture(scope="module", params=USERS)
def box(request: pytest.FixtureRequest) -> Iterator[launcherbox.Box]:
    if request.param and not launcherbox.system_python_present():
        pytest.skip("uid 65534 can't run a Python here, or not read this repository")
    with launcherbox.box(user=request.param) as one:
        yield one


def outside(source: str) -> Any:
    """Run a probe without a sandbox: the negative control."""
    code = source + "\nimport json\nprint(json.dumps(handle(None, None)))\n"
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)


CALLS = """
import ctypes, errno, os
NUMBERS = {numbers}
def handle(event, context):
    libc = ctypes.CDLL(None, use_errno=True)
    found = {{}}
    for name, number in NUMBERS.items():
        ctypes.set_errno(0)
        result = libc.syscall(ctypes.c_long(number), ctypes.c_long(-1), None, ctypes.c_long(-1), None, None, None)
        found[name] = errno.errorcode.get(ctypes.get_errno(), "none") if result < 0 else "done"
    return found
"""
# With these arguments none of them does anything, even where they are allowed.
HARMLESS = ("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "open_by_handle_at", "kcmp")


def test_dangerous_calls_by_number(box: launcherbox.Box) -> None:
    """A6: every refused call, then the 32-bit and x32 tables."""
    numbers = syscalls.numbers(syscalls.REFUSED, platform.machine())
    answers = box.value(CALLS.format(numbers=numbers))
    assert {name for name, answer in answers.items() if answer not in REFUSALS} == set()
    assert set(answers) == set(numbers)
    control = outside(CALLS.format(numbers={name: numbers[name] for name in HARMLESS}))
    assert any(answer not in REFUSALS for answer in control.values()), control


NAMESPACES = """
import ctypes, errno, os
def handle(event, context):
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    for bit in (17, 25, 26, 27, 28, 29, 30):
        number = {clone}
        pid = libc.syscall(ctypes.c_long(number), ctypes.c_ulong(1 << bit | 17), None, None, None, None)
        if pid == 0:
            os._exit(0)
        if pid > 0:
            os.waitpid(pid, 0)
        found.append("made" if pid > 0 else errno.errorcode[ctypes.get_errno()])
    return found
"""


def test_no_new_namespaces(box: launcherbox.Box) -> None:
    """A6: clone with each namespace flag."""
    clone = syscalls.numbers(syscalls.EXAMINED, platform.machine())["clone"]
    assert set(box.value(NAMESPACES.format(clone=clone))) == {"EPERM"}
    if os.geteuid() == 0:
        assert "made" in outside(NAMESPACES.format(clone=clone))


OTHER_TABLES = r"""
import ctypes, mmap
def handle(event, context):
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid of i386); int 0x80; ret
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    return [function(), ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 | 39))]
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the other tables are x86_64's")
def test_the_32_bit_and_x32_tables_are_closed(box: launcherbox.Box) -> None:
    """A6."""
    assert all(answer < 0 for answer in box.value(OTHER_TABLES))


FILES = """
import errno, os
def attempt(path, flags):
    try:
        os.close(os.open(path, flags))
        return "open"
    except OSError as error:
        return errno.errorcode[error.errno]
def handle(event, context):
    return {{path: attempt(path, flags) for path, flags in {paths}}}
"""


def test_files_of_the_host_and_of_others_are_not_there(box: launcherbox.Box) -> None:
    """A4: by path, through /proc/1/root, by descriptor paths of other processes, cgroups."""
    other = box.deploy("SECRET = 1\n")
    paths = [
        ("/etc/shadow", 0),
        ("/etc/hostname", 0),
        ("/app/../../etc/shadow", 0),
        (os.path.join("/proc/1", "root", "etc/shadow"), 0),
        (os.path.join("/proc/1", "root", box.data[1:]), 0),
        (f"/proc/{os.getpid()}/environ", 0),
        (f"{box.data}/code", os.O_DIRECTORY),
        (f"{box.data}/code/{other}/fn.py", 0),
        (__file__, 0),
        ("/run/docker.sock", 0),
        ("/dev/mem", 0),
        ("/dev/kmsg", os.O_WRONLY),
        ("/sys/fs/cgroup/cgroup.procs", os.O_WRONLY),
        ("/proc/sys/kernel/hostname", os.O_WRONLY),
    ]
    answers = box.value(FILES.format(paths=paths))
    assert "open" not in answers.values(), answers
    assert set(answers.values()) <= {"ENOENT", "EACCES", "EROFS", "EPERM"}
    assert "open" in outside(FILES.format(paths=paths)).values()


SELF = """
import os
def read(path):
    return open(path, "rb").read().replace(bytes(1), b" ").decode()
def handle(event, context):
    return {"environ": [dict(os.environ), read("/proc/self/environ")], "argv": read("/proc/self/cmdline"),
            "fds": sorted(map(int, os.listdir("/proc/self/fd"))), "mounts": read("/proc/self/mountinfo")}
"""


def test_only_declared_variables_and_no_secrets(box: launcherbox.Box) -> None:
    """A5: environment, descriptors, arguments, mounts."""
    canary = "wisp-canary-4711"
    os.environ["WISP_TEST_CANARY"] = canary
    started = box.start(box.deploy(SELF))
    frame = box.call(started, env={"DECLARED": "yes"})
    assert frame is not None
    box.stop(started)
    box.release(started)
    seen = json.loads(frame.body)
    assert seen["environ"][0].pop("DECLARED") == "yes"
    assert seen["environ"][1] == ""
    assert canary not in json.dumps(seen)
    assert canary in json.dumps(outside(SELF))
    assert [number for number in seen["fds"] if number > 3] in ([], [4])  # the listing itself holds one
    targets = [line.split()[4] for line in seen["mounts"].splitlines()]
    assert not [path for path in targets if path.startswith(("/home", "/mnt", "/sys", "/run/", "/var"))]


TERMINAL = """
import errno, fcntl
def handle(event, context):
    found = []
    for request in (0x5412, 0x541c):
        try:
            fcntl.ioctl(1, request, b"x")
            found.append("done")
        except OSError as error:
            found.append(errno.errorcode[error.errno])
    return found
"""


def test_no_character_reaches_a_terminal(box: launcherbox.Box) -> None:
    """A7: refused by the filter, before the kernel looks whether it is a terminal (outside it does: ENOTTY)."""
    assert box.value(TERMINAL) == ["EPERM", "EPERM"]
    assert outside(TERMINAL) == ["ENOTTY", "ENOTTY"]


KILLS = """
import os, signal
def handle(event, context):
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    try:
        os.kill(-1, signal.SIGKILL)
        all_ = "killed"
    except ProcessLookupError:
        all_ = "nobody"
    return [pids, all_]
"""


def test_no_other_process_can_be_seen_or_killed(box: launcherbox.Box) -> None:
    """A8: a second instance and the launcher live on."""
    canary = box.start(box.deploy())
    assert box.call(canary) is not None
    assert box.value(KILLS) == [[1], "nobody"]
    assert canary.instance not in box.events.exits
    assert box.launcher.process.poll() is None
    box.stop(canary)
    box.release(canary)


STATE = """
import os
import fn
fn.SEEN = getattr(fn, "SEEN", 0)
def handle(event, context):
    fn.SEEN += 1
    before = sorted(os.listdir("/tmp")) + sorted(os.environ)
    open("/tmp/left", "w").write("x")
    open("/dev/shm/left2", "w").write("x")
    os.environ["LEFT"] = "1"
    return [fn.SEEN, before]
"""


def test_nothing_is_left_for_the_next_instance(box: launcherbox.Box) -> None:
    """A10: scratch, globals and environment; the same version again, then another one."""
    first = box.value(STATE)
    assert first[0] == 1
    assert box.value(STATE) == first
    assert box.value(STATE + "\n# another version\n") == first
    assert "left" not in first[1]


NETWORK = """
import errno, socket
def attempt(family, address):
    with socket.socket(family) as one:
        one.settimeout(3)
        try:
            one.connect(address)
            one.sendall(b"x")
            return one.recv(10).decode()
        except OSError as error:
            return errno.errorcode.get(error.errno, "timeout")
def handle(event, context):
    found = {{}}
    for host, port in {targets}:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found[f"{{host}} {{port}}"] = attempt(family, (host, port))
    for path in {paths}:
        found[path] = attempt(socket.AF_UNIX, path)
    return found
"""


def host_unix_sockets() -> list[str]:
    with open("/proc/net/unix") as file:
        names = [line.split()[7] for line in file.read().splitlines()[1:] if len(line.split()) > 7]
    return sorted(set(names))[:50]


@pytest.mark.parametrize("network", ["egress", "none", "private"])
def test_nothing_of_the_host_answers(box: launcherbox.Box, network: str) -> None:
    """A2: a listening port on every address of the host, path and abstract sockets, in each network mode."""
    unix = socket.socket(socket.AF_UNIX)
    with server(b"outside", "::") as six, server(b"outside", "0.0.0.0") as four, unix as abstract:
        name = f"\0wisp-test-{os.getpid()}"
        abstract.bind(name)
        abstract.listen()
        hosts = ["127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "169.254.169.254", *addresses()]
        targets = [(host, port) for host in hosts for port in (four, six)]
        source = NETWORK.format(targets=targets, paths=[name, *host_unix_sockets()])
        answers = box.value(source, network=network)
        assert not [target for target, answer in answers.items() if answer in ("outside", "timeout", "")], answers
        control = outside(NETWORK.format(targets=targets[:1], paths=[]))
        assert control == {f"127.0.0.1 {four}": "outside"}
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(name)


def addresses() -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.254", 9))
            return [one.getsockname()[0]]
        except OSError:
            return []


def test_an_allowed_address_answers(box: launcherbox.Box) -> None:
    """The control of the egress rows above, and of the other modes: they stay closed though it is named."""
    with server() as port:
        source = NETWORK.format(targets=[("127.0.0.1", port)], paths=[])
        allow = (f"127.0.0.1:{port}",)
        assert box.value(source, network_allow=allow) == {f"127.0.0.1 {port}": "outside"}
        for network in ("none", "private"):
            answer = box.value(source, network=network, network_allow=allow)
            assert answer[f"127.0.0.1 {port}"] == "ECONNREFUSED"


LOOP = """
import signal, re
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def handle(event, context):
    re.match("(a+)+$", "a" * 64 + "b")  # holds the interpreter's lock in C for ever
"""


def test_a_loop_in_c_is_killed(box: launcherbox.Box) -> None:
    """E8: nothing has to listen for the end."""
    started = box.start(box.deploy(LOOP))
    launcherbox.send_call(started)
    exited = box.stop(started)
    assert exited.cause == ExitCause.STOPPED
    box.release(started)


HOSTILE_LAYER = """
import sys
DISARMED = False
frame = sys._getframe()
while frame is not None:  # the platform's modules can't be imported, but they are on the stack
    seccomp = frame.f_globals.get("seccomp")
    if seccomp is not None:
        seccomp.install = lambda network: None
        DISARMED = True
    frame = frame.f_back
"""
GUARDED = """
import ctypes, errno, hostile
def handle(event, context):
    libc = ctypes.CDLL(None, use_errno=True)
    status = open("/proc/self/status").read()
    result = libc.syscall(ctypes.c_long(425), 1, None)
    made = errno.errorcode.get(ctypes.get_errno()) if result < 0 else "made"
    return [hostile.DISARMED, status.split("Seccomp:")[1].split()[0], made]
"""


def test_a_layer_that_disarms_its_members_does_not_disarm_the_guard(box: launcherbox.Box) -> None:
    """What a layer imports runs before members lock themselves: the guard was there before it."""
    layer = box.deploy_layer({"hostile.py": HOSTILE_LAYER, ".wisp-preload": "hostile\n"})
    for _ in range(50):  # the first starts don't wait for the layer's zygote
        disarmed, mode, made = box.value(GUARDED, layer=layer)
        assert [mode, made] == ["2", "EPERM"]
        if disarmed:
            return
        time.sleep(0.1)
    pytest.fail("the layer's zygote never took part")
