"""The command line in the bench: how long its help takes, and how soon `wisp run` serves what was saved."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import client

WISP = [sys.executable, "-m", "wispd.cli.main"]
WITHIN_S = 30.0


def help_ms() -> float:
    """Return the milliseconds of `wisp --help`, from the start of its process to its end."""
    start = time.perf_counter()
    subprocess.run([*WISP, "--help"], stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - start) * 1e3


class Served:
    """A file that `wisp run` serves."""

    def __init__(self, file: Path, port: int) -> None:
        self._file = file
        self._port = port

    def reload_ms(self, number: int) -> float:
        """Save the file anew; return the milliseconds to the first answer of the new code."""
        time.sleep(0.3)  # the save before has settled
        start = time.perf_counter()
        self._file.write_text(source(number))
        with client.Link(self._port) as link:
            while time.perf_counter() - start < WITHIN_S:
                if link.ask("GET", "/").body == str(number).encode():
                    return (time.perf_counter() - start) * 1e3
                time.sleep(0.001)
        raise RuntimeError(f"the save was not live within {WITHIN_S} s")


def source(number: int) -> str:
    return f"def handle(event, context):\n    return '{number}'\n"


@contextmanager
def running() -> Iterator[Served]:
    """Serve a file with `wisp run` and end it at the end."""
    with tempfile.TemporaryDirectory(prefix="wisp-bench-") as folder:
        file = Path(folder, "saved.py")
        file.write_text(source(-1))
        told = Path(folder, "told")
        with told.open("wb") as output:  # a pipe that nobody reads would hold the command up
            command = [*WISP, "run", str(file), "--port", "0", "--json"]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output)
        try:
            yield Served(file, _port(told))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=WITHIN_S)


def _port(told: Path) -> int:
    """Wait until the file is served; return the port."""
    end = time.perf_counter() + WITHIN_S
    while time.perf_counter() < end:
        for line in told.read_text().splitlines(keepends=True):
            if line.endswith("\n") and (event := json.loads(line)).get("event") == "ready":
                return int(str(event["url"]).rstrip("/").rpartition(":")[2])
        time.sleep(0.02)
    raise RuntimeError("`wisp run` did not become ready")
