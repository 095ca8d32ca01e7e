"""`make run` on real input: a node, the example, its answer, and nothing left after it is told to end."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WITHIN_S = 60.0


@pytest.fixture
def data() -> Iterator[Path]:
    """A short path: sockets below it have a limit."""
    folder = Path(tempfile.mkdtemp(prefix="wisp-run-"))
    yield folder / "data"
    shutil.rmtree(folder, ignore_errors=True)


def two_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def start(data: Path, port: int, admin: int, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "tools/run.py", "--data", str(data), "--port", str(port), "--admin-port", str(admin)]
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


def test_make_run_serves_the_example_and_ends_when_told(data: Path, tmp_path: Path) -> None:
    port, admin = two_ports()
    log = tmp_path / "log"
    process = start(data, port, admin, log)
    try:
        end = time.monotonic() + WITHIN_S
        while "Ctrl-C" not in log.read_text() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert process.poll() is None, log.read_text()
        text = log.read_text()
        assert f"curl http://127.0.0.1:{port}/fn/hello" in text
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/fn/hello", timeout=30) as answer:
            assert answer.status == 200
            assert answer.read().decode().strip() in text
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=WITHIN_S) == 0, log.read_text()


def test_make_run_on_a_taken_port_says_which_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(data, port, two_ports()[1], tmp_path / "log")
        assert process.wait(timeout=WITHIN_S) != 0
    text = (tmp_path / "log").read_text()
    assert str(port) in text
    assert "Traceback" not in text
