"""Run a probe inside a minimal sandbox: a network namespace, no capabilities, the real filter, the real broker.

`as_user` runs a whole scenario in a forked child, as root or as uid 65534, so that each test has its twin.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import contextlib
import encodings.idna
import errno
import fcntl
import json
import multiprocessing.managers
import multiprocessing.pool
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import uvloop

from wispd.adapters.engine.process import broker, descriptors, egress, kernel, seccomp

# What a probe uses is imported here: inside, the interpreter's files may be out of reach.
PRELOADED = (asyncio, concurrent.futures.thread, encodings.idna, multiprocessing, subprocess, urllib.request, uvloop)
TLS = ssl.create_default_context()
NOBODY = 65_534
INSTANCE_UID = 1_879_100_001
BROKER_UID = 1_879_100_000
PATIENCE_S = 30.0
Probe = Callable[[], Any]


def preload() -> None:
    """Make the libraries import what they import late."""
    with contextlib.suppress(httpx.HTTPError):
        httpx.get("http://127.0.0.1:9", trust_env=False, verify=TLS)
    with contextlib.suppress(OSError):
        socket.getaddrinfo("localhost", 1)


def as_user(scenario: Probe, *, root: bool) -> Any:
    """Run `scenario` in a child, as root or not; return its JSON value, or fail with its traceback."""
    preload()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            if os.geteuid() == 0 and not root:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                kernel.set_dumpable(True)
            answer = json.dumps(["ok", scenario()])
        except BaseException:
            answer = json.dumps(["failed", traceback.format_exc()])
        with open(writing, "w") as file:
            file.write(answer)
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        text = file.read()
    os.waitpid(pid, 0)
    verdict, value = json.loads(text)
    assert verdict == "ok", value
    return value


class Broker:
    """A broker for one scenario."""

    def __init__(self, **options: Any) -> None:
        uid = BROKER_UID if os.geteuid() == 0 else 0
        self.handle = broker.start(uid=uid, **options)
        self._instances = iter(range(1, 10_000))

    def run(self, probe: Probe, *, allow: Sequence[str] = ()) -> Any:
        """Run `probe` in a new box whose egress this broker serves."""
        return box(probe, handle=self.handle, allow=allow, instance=next(self._instances))

    def alive(self) -> bool:
        return os.waitpid(self.handle.pid, os.WNOHANG) == (0, 0)

    def close(self) -> None:
        self.handle.close()
        os.waitpid(self.handle.pid, 0)


@contextlib.contextmanager
def brokered(**options: Any) -> Iterator[Broker]:
    one = Broker(**options)
    try:
        yield one
    finally:
        one.close()


def box(
    probe: Probe,
    *,
    network: str = "egress",
    handle: broker.BrokerHandle | None = None,
    allow: Sequence[str] = (),
    instance: int = 1,
    locked: bool = True,
) -> Any:
    """Run `probe` in a sandboxed child and return its JSON value; an exception is its text.

    `locked=False` is the negative control: the same child without the filter.
    """
    ours, theirs = descriptors.packet_pair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _inside(probe, theirs, network if locked else "")
    theirs.close()
    ours.settimeout(PATIENCE_S)
    try:
        packet = descriptors.receive(ours, 10)
        if packet.descriptors:
            assert handle is not None
            packed = [egress.parse_allow(text).pack() for text in allow]
            handle.adopt(instance, packet.descriptors[0], pid, packed)
            descriptors.close_all(packet.descriptors)
        ours.send(b"go")
        return json.loads(ours.recv(60_000))
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _inside(probe: Probe, link: socket.socket, network: str) -> None:
    try:
        _enter()
        notifier = seccomp.install(network) if network else None
        descriptors.send(link, b"ready", [] if notifier is None else [notifier])
        if notifier is not None:
            os.close(notifier)
        link.recv(10)
        try:
            answer = probe()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}\n{traceback.format_exc()[-800:]}"
        link.send(json.dumps(answer).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _enter() -> None:
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.NEWNET | (0 if uid == 0 else kernel.NEWUSER))
    if uid != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
    if uid == 0:
        os.setgroups([])
        os.setresgid(INSTANCE_UID, INSTANCE_UID, INSTANCE_UID)
        os.setresuid(INSTANCE_UID, INSTANCE_UID, INSTANCE_UID)
    kernel.clear_capabilities()
    kernel.set_dumpable(True)
    kernel.no_new_privileges()


@contextlib.contextmanager
def server(answer: bytes = b"outside", address: str = "127.0.0.1") -> Iterator[int]:
    """A TCP server of the host that says one thing to everybody; yields its port."""
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(2)
                        connection.recv(4096)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def reach(host: str, port: int, *, timeout_s: float = 3.0) -> str:
    """Try to talk to an address; return what it said, or the error's name."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.settimeout(timeout_s)
        try:
            one.connect((host, port))
            one.sendall(b"hello")
            return one.recv(100).decode()
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, type(error).__name__)
