"""A hostile sandbox against the egress broker: races, reused sockets, hangs, floods, false listeners."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import boxes
import pytest
from boxes import as_user, box, brokered, reach, server

from wispd.adapters.engine.process import descriptors, notification, outward, seccomp

USERS = [pytest.param(True, marks=pytest.mark.needs_root, id="root"), pytest.param(False, id="unprivileged")]
LIBC = ctypes.CDLL(None, use_errno=True)
ROUNDS = 300
HELD_S = 0.02
LOOPBACK = (0xFFFF << 32) | 0x7F00_0001


@contextlib.contextmanager
def counted(*, reset: bool = False) -> Iterator[tuple[int, list[int]]]:
    """A server that must not be reached: yields its port and the list of who came."""
    came: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, peer = listener.accept()
                    came.append(peer[1])
                    if reset:  # that leaves the peer's socket closed, and a closed socket may connect again
                        connection.recv(1)
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], came
        listener.shutdown(socket.SHUT_RDWR)


class Flipping:
    """A socket address whose port changes all the time."""

    def __init__(self, one: int, other: int) -> None:
        self.ports = [port.to_bytes(2, "big") for port in (one, other)]
        self.buffer = ctypes.create_string_buffer(outward.build_address(socket.AF_INET, LOOPBACK, one), 16)
        self.stopped = False
        self.thread = threading.Thread(target=self.flip)

    def flip(self) -> None:
        place = ctypes.addressof(self.buffer) + 2
        while not self.stopped:
            for port in self.ports:
                ctypes.memmove(place, port, 2)

    def __enter__(self) -> Flipping:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped = True
        self.thread.join()


def race(open_port: int, closed_port: int) -> list[int]:
    """Connect many times with an address that changes; return (times connected, times refused)."""
    connected = refused = 0
    with Flipping(open_port, closed_port) as address:
        for _ in range(ROUNDS):
            with socket.socket() as one:
                if LIBC.connect(one.fileno(), address.buffer, 16) == 0:
                    connected += 1
                else:
                    refused += 1
    return [connected, refused]


@pytest.mark.parametrize("root", USERS)
@pytest.mark.parametrize("both_allowed", [False, True], ids=["closed", "control"])
def test_an_address_that_changes_under_the_brokers_eyes(root: bool, both_allowed: bool) -> None:
    """The classic race of system-call filters. The control shows that the address did change in time."""

    def scenario() -> Any:
        with counted() as (open_port, _), counted() as (closed_port, came), brokered() as one:
            allow = [f"127.0.0.1:{open_port}"] + [f"127.0.0.1:{closed_port}"] * both_allowed
            return [*one.run(lambda: race(open_port, closed_port), allow=allow), len(came)]

    connected, refused, came = as_user(scenario, root=root)
    assert connected > 0
    assert (came > 0) == both_allowed
    assert (refused > 0) != both_allowed


def wait_closed(one: socket.socket) -> None:
    one.sendall(b"x")
    with contextlib.suppress(OSError):
        one.recv(1)
    assert outward.tcp_state(one) == outward.STATE_CLOSE


def swap(open_port: int, closed_port: int) -> int:
    """Swap a Unix socket for one the broker gave us, closed by its peer, while the call is held: same number."""
    given = []
    for _ in range(8):
        one = socket.create_connection(("127.0.0.1", open_port))
        wait_closed(one)
        given.append(one)
    address = ctypes.create_string_buffer(outward.build_address(socket.AF_INET, LOOPBACK, closed_port), 16)
    unix = b"\1\0\0wisp-none".ljust(16, b"x")
    inet = address.raw[:16]
    target = socket.socket(socket.AF_UNIX)
    kept = os.dup(target.fileno())
    held = threading.Event()

    def put_in_place(one: socket.socket) -> None:
        held.wait()
        time.sleep(HELD_S / 4)  # the broker has looked by now, and has not answered yet
        os.dup2(one.fileno(), target.fileno())
        ctypes.memmove(address, inet, 16)

    for one in [one for one in given for _ in range(2)]:  # the first connect only ends the old connection's state
        os.dup2(kept, target.fileno())
        ctypes.memmove(address, unix, 16)
        held.clear()
        thread = threading.Thread(target=put_in_place, args=(one,))
        thread.start()
        held.set()
        LIBC.connect(target.fileno(), address, 16)
        thread.join()
    return 1


@pytest.mark.parametrize("root", USERS)
@pytest.mark.parametrize("landlock", [True, False], ids=["closed", "control"])
def test_a_descriptor_that_changes_while_a_call_continues(root: bool, landlock: bool) -> None:
    """Calls on Unix sockets go on in the kernel: a TCP socket put in their place still connects to nothing.

    The control: without Landlock some of them do connect, so the broker must not let calls go on then.
    """

    def scenario() -> Any:
        seccomp._LANDLOCK = landlock  # in this child, not in the broker, which gives the attacker time
        go_on = notification.go_on
        notification.go_on = lambda *call: (time.sleep(HELD_S), go_on(*call))  # type: ignore[assignment]
        with counted(reset=True) as (open_port, _), counted() as (closed_port, came), brokered() as one:
            allow = [f"127.0.0.1:{open_port}"]
            return [one.run(lambda: swap(open_port, closed_port), allow=allow), len(came)]

    done, came = as_user(scenario, root=root)
    assert done == 1
    assert (came > 0) != landlock


@pytest.mark.parametrize("root", USERS)
def test_without_landlock_no_call_goes_on(root: bool) -> None:
    def probe() -> int:
        with socket.socket(socket.AF_UNIX) as one:
            return one.connect_ex("\0wisp-none")

    def scenario() -> Any:
        boxes.broker.Broker.__init__.__globals__["seccomp"].landlock_abi = lambda: 3
        seccomp._LANDLOCK = False
        with brokered() as one:
            return one.run(probe)

    assert as_user(scenario, root=root) == errno.EACCES


def reuse(open_port: int, closed_port: int) -> list[int]:
    """Everything one could do with a used outside socket to get somewhere else."""
    one = socket.create_connection(("127.0.0.1", open_port))
    unspecified = bytes(16)
    forbidden = outward.build_address(socket.AF_INET, LOOPBACK, closed_port)
    codes = [failed(LIBC.connect(one.fileno(), unspecified, 16))]
    wait_closed(one)
    codes.append(failed(LIBC.connect(one.fileno(), forbidden, 16)))
    codes.append(failed(LIBC.sendto(one.fileno(), b"x", 1, 0x2000_0000, forbidden, 16)))
    codes.append(failed(LIBC.bind(one.fileno(), outward.build_address(socket.AF_INET, LOOPBACK, 0), 16)))
    codes.append(failed(LIBC.listen(one.fileno(), 5)))
    return codes


def failed(result: int) -> int:
    return ctypes.get_errno() if result < 0 else 0


@pytest.mark.parametrize("root", USERS)
def test_a_used_outside_socket_leads_nowhere_else(root: bool) -> None:
    def scenario() -> Any:
        with counted(reset=True) as (open_port, _), counted() as (closed_port, came), brokered() as one:
            return [*one.run(lambda: reuse(open_port, closed_port), allow=[f"127.0.0.1:{open_port}"]), len(came)]

    disconnect, reconnect, fast_open, bind, listen, came = as_user(scenario, root=root)
    assert disconnect == errno.EISCONN
    assert reconnect in (errno.ECONNREFUSED, errno.EACCES, errno.EISCONN)
    assert (fast_open, bind, listen) == (errno.EPERM, errno.EINVAL, errno.EINVAL)
    assert came == 0


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port whose listener's queue is full: connects hang."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def start_box(one: boxes.Broker, probe: Any, allow: list[str]) -> threading.Thread:
    def run() -> None:
        with contextlib.suppress(OSError, ValueError):
            one.run(probe, allow=allow)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("root", USERS)
def test_connects_that_hang_hinder_nobody(root: bool) -> None:
    """Outside and inside, in many threads; then the sandbox is killed in the middle of them."""

    def hang(port: int) -> None:
        inner = socket.socket()
        inner.bind(("127.0.0.1", 0))
        inner.listen(0)
        targets = [port] * 20 + [inner.getsockname()[1]] * 8
        for target in targets:
            threading.Thread(target=reach, args=("127.0.0.1", target), daemon=True).start()
            one = socket.socket()
            threading.Thread(target=one.connect_ex, args=(("127.0.0.1", target),), daemon=True).start()
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    def scenario() -> Any:
        with silent() as dead, server() as named, brokered() as one:
            one.run(lambda: 1)  # it has opened what it needs by then
            before = len(os.listdir(f"/proc/{one.handle.pid}/fd"))
            hanging = start_box(one, lambda: hang(dead), [f"127.0.0.1:{dead}"])
            answers = []
            for _ in range(10):
                answers.append(one.run(lambda: reach("127.0.0.1", named), allow=[f"127.0.0.1:{named}"]))
                time.sleep(0.1)
            hanging.join()
            deadline = time.monotonic() + 10
            while len(os.listdir(f"/proc/{one.handle.pid}/fd")) > before and time.monotonic() < deadline:
                time.sleep(0.05)
            return [answers, len(os.listdir(f"/proc/{one.handle.pid}/fd")) - before, one.alive()]

    answers, left, alive = as_user(scenario, root=root)
    assert answers == ["outside"] * 10
    assert alive
    assert left <= 0


@pytest.mark.parametrize("root", USERS)
def test_a_flood_is_bounded(root: bool) -> None:
    def flood() -> int:
        def many() -> None:
            for _ in range(300):
                reach("10.0.0.1", 1)

        threads = [threading.Thread(target=many) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return 1

    def scenario() -> Any:
        with server() as named, brokered() as one:
            one.run(lambda: 1)  # it has opened what it needs by then
            before = len(os.listdir(f"/proc/{one.handle.pid}/fd"))
            flooded = one.run(flood)
            answer = one.run(lambda: reach("127.0.0.1", named), allow=[f"127.0.0.1:{named}"])
            return [flooded, answer, len(os.listdir(f"/proc/{one.handle.pid}/fd")) - before <= 2]

    assert as_user(scenario, root=root) == [1, "outside", True]


@pytest.mark.parametrize("root", USERS)
def test_what_is_no_listener_is_not_adopted(root: bool) -> None:
    def scenario() -> Any:
        with server() as named, brokered() as one:
            reading, writing = os.pipe()
            one.handle.adopt(900, reading, os.getpid(), [])
            one.handle.adopt(901, writing, os.getpid(), [b"\xff" * 20])
            answer = one.run(lambda: reach("127.0.0.1", named), allow=[f"127.0.0.1:{named}"])
            os.close(reading)
            refused = True
            try:
                os.write(writing, b"x")
                refused = False
            except BrokenPipeError:
                pass
            return [answer, refused, one.alive()]

    assert as_user(scenario, root=root) == ["outside", True, True]


@pytest.mark.parametrize("root", USERS)
def test_a_listener_kept_inside_harms_only_its_keeper(root: bool) -> None:
    """A sandbox that kept its listener takes the calls away before the broker reads them."""

    def steal(link: socket.socket) -> None:
        boxes._enter()
        notifier = seccomp.install("egress")
        assert notifier is not None
        descriptors.send(link, b"ready", [notifier])
        link.recv(10)
        signal.signal(signal.SIGALRM, lambda *_: None)

        def call_on() -> None:
            while True:
                reach("10.0.0.1", 1)

        for _ in range(4):
            threading.Thread(target=call_on, daemon=True).start()
        poll = select.poll()
        poll.register(notifier, select.POLLIN)
        while True:
            poll.poll(1000)
            with contextlib.suppress(OSError):
                notification.receive(notifier)

    def scenario() -> Any:
        with server() as named, brokered() as one:
            ours, theirs = descriptors.packet_pair()
            pid = os.fork()
            if pid == 0:
                try:
                    steal(theirs)
                finally:
                    os._exit(0)
            packet = descriptors.receive(ours, 10)
            one.handle.adopt(800, packet.descriptors[0], pid, [])
            descriptors.close_all(packet.descriptors)
            ours.send(b"go")
            try:
                return [
                    one.run(lambda: reach("127.0.0.1", named), allow=[f"127.0.0.1:{named}"]) for _ in range(5)
                ] + [one.alive()]
            finally:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    assert as_user(scenario, root=root) == ["outside"] * 5 + [True]


@pytest.mark.parametrize("root", USERS)
def test_without_the_broker_there_is_no_network(root: bool) -> None:
    """Fails closed: the held calls end, later ones too."""

    def probe(port: int, reading: int) -> list[str]:
        first = reach("127.0.0.1", port)
        os.write(reading, b"x")
        time.sleep(0.5)
        return [first, reach("127.0.0.1", port)]

    def scenario() -> Any:
        with server() as named, brokered() as one:
            reading, writing = os.pipe()
            killer = threading.Thread(target=lambda: (os.read(reading, 1), os.kill(one.handle.pid, signal.SIGKILL)))
            killer.start()
            answers = one.run(lambda: probe(named, writing), allow=[f"127.0.0.1:{named}"])
            killer.join()
            return answers

    assert as_user(scenario, root=root) == ["outside", "ENOSYS"]


def test_the_answers_stay_readable() -> None:
    """The pipe that `as_user` reads carries JSON, whatever happens."""
    assert json.loads(json.dumps(as_user(lambda: [1, "a"], root=os.geteuid() == 0))) == [1, "a"]
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        as_user(lambda: 1 // 0, root=os.geteuid() == 0)
    assert box(lambda: "no network", network="none") == "no network" if os.geteuid() == 0 else True
