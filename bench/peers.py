"""Starts and stops the peers: each serves a hello world on a loopback port, on the cores it is given."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = HERE / ".venv/bin/python"
PEER = HERE / "peer"
FRAMEWORK = ["-m", "functions_framework", "--source=apps.py", "--target=framework", "--host=127.0.0.1"]
GUNICORN = ["-m", "gunicorn", "-w", "1", "--log-level", "critical"]


def commands(name: str, port: int) -> list[tuple[list[str], dict[str, str]]]:
    """Return the processes of a peer: arguments for its Python, and environment."""
    api = port + 1
    table: dict[str, list[tuple[list[str], dict[str, str]]]] = {
        "floor": [(["floor.py", str(port)], {})],
        "peer.awslambdaric": [
            (["runtime_api.py", str(port), str(api)], {}),
            (["-m", "awslambdaric", "apps.lambda_handler"], {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api}"}),
        ],
        "peer.functions-framework": [
            ([*FRAMEWORK, f"--port={port}"], {})
        ],
        "peer.flask-waitress": [
            (["-m", "waitress", f"--listen=127.0.0.1:{port}", "--threads=4", "flask_app:app"], {})
        ],
        "peer.flask-gevent": [([*GUNICORN, "-k", "gevent", "-b", f"127.0.0.1:{port}", "flask_app:app"], {})],
        "peer.uvicorn": [
            (
                ["-m", "uvicorn", "--app-dir", str(HERE / "functions/hello_fastapi"), "main:app", f"--port={port}",
                 "--no-access-log", "--log-level=critical", "--loop=uvloop", "--http=httptools"],
                {},
            )
        ],
    }  # fmt: skip
    return table[name]


def free_port() -> int:
    """Return an even port p where p and p + 1 are free at this moment."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


@contextmanager
def serving(name: str) -> Iterator[tuple[str, float]]:
    """Run a peer; yield its URL and the milliseconds from its start to its first good answer."""
    port = free_port()
    processes: list[subprocess.Popen[bytes]] = []
    environment = {"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir(), "PYTHONDONTWRITEBYTECODE": "1"}
    start = time.perf_counter()
    try:
        for arguments, extra in commands(name, port):
            processes.append(
                subprocess.Popen(
                    [str(PYTHON), *arguments],
                    cwd=PEER,
                    env=environment | extra,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
            # A later process of the same peer is a client of the first.
            _listening(port, processes[0])
        _first_answer(port, processes)
        yield f"http://127.0.0.1:{port}/", (time.perf_counter() - start) * 1e3
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _listening(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.001)


def _first_answer(port: int, processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask until a 200 comes; raises `RuntimeError` when the peer died or took over 30 s."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if any(process.poll() is not None for process in processes):
            break
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            if link.recv(65536).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.001)
    raise RuntimeError(f"{processes[-1].args}: did not serve")
