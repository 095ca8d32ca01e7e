"""How a launcher process is started: an own interpreter with nothing but the standard library and this package."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass

from wispd.adapters.engine.process import descriptors
from wispd.adapters.engine.process.config import LauncherSettings
from wispd.adapters.engine.process.making import PACKAGES


def command(settings: LauncherSettings, *, boot: int, gateway: int = -1, executable: str = "") -> list[str]:
    """The command line; the two descriptors must be inheritable. Meant for an empty environment.

    `executable`: the interpreter that becomes the launcher and the runtime `python3`; empty: the running one.
    """
    code = (
        f"import sys;sys.path.insert(0,{PACKAGES!r});"
        "from wispd.adapters.engine.process.launcher import main;main(sys.argv[1:])"
    )
    numbers = ["--boot-fd", str(boot), "--gateway-fd", str(gateway)]
    return [executable or sys.executable, "-I", "-S", "-B", "-c", code, *numbers, settings.to_json()]


@dataclass(slots=True)
class LauncherProcess:
    """A launcher started without a supervisor, for tests and measurements. Close it."""

    process: subprocess.Popen[bytes]
    boot: socket.socket
    gateway: socket.socket

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Return when starts are possible. Raises: `TimeoutError`, `RuntimeError` when it ended instead."""
        self.boot.settimeout(timeout_s)
        if b'"ready"' not in self.boot.recv(65_536):
            raise RuntimeError(f"the launcher ended with {self.process.wait(5)}")

    def replace_gateway(self) -> socket.socket:
        """Give the launcher a new connection; the old one is closed."""
        ours, theirs = descriptors.packet_pair()
        descriptors.send(self.boot, b'{"type":"descriptor","names":["gateway"]}', [theirs.fileno()])
        theirs.close()
        self.gateway.close()
        self.gateway = ours
        return ours

    def close(self) -> int:
        """End it as a supervisor's end would, and return its exit code."""
        self.boot.close()
        self.gateway.close()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(10)


def start_launcher(
    settings: LauncherSettings, *, prefix: tuple[str, ...] = (), executable: str = ""
) -> LauncherProcess:
    """Start a launcher with an empty environment; `prefix` is a command that runs it (`setpriv …`)."""
    boot, their_boot = descriptors.packet_pair()
    gateway, their_gateway = descriptors.packet_pair()
    numbers = (their_boot.fileno(), their_gateway.fileno())
    try:
        arguments = [*prefix, *command(settings, boot=numbers[0], gateway=numbers[1], executable=executable)]
        process = subprocess.Popen(arguments, env={}, pass_fds=numbers, cwd="/", stdin=subprocess.DEVNULL)  # noqa: S603
    except OSError:
        boot.close()
        gateway.close()
        raise
    finally:
        their_boot.close()
        their_gateway.close()
    return LauncherProcess(process, boot, gateway)


def replace_process(settings: LauncherSettings, *, boot: int, gateway: int) -> None:
    """Become a launcher: what the caller had loaded, and its environment, is gone. Returns only by `OSError`."""
    for number in (boot, gateway):
        if number >= 0:
            os.set_inheritable(number, True)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    arguments = command(settings, boot=boot, gateway=gateway)
    os.execve(arguments[0], arguments, {})  # noqa: S606
