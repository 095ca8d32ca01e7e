"""Rolling back under load: from the request to the first answer of the old version."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import client
import load
from commands import source
from node import Node

CONNECTIONS = 8
LOAD_S = 4
WITHIN_S = 30.0


def rollback_ms(node: Node, name: str) -> float:
    """Deploy two versions, load the second, go back; return the milliseconds until the first one answers."""
    for number in (1, 2):
        with tempfile.TemporaryDirectory(prefix="wisp-bench-") as folder:
            Path(folder, "main.py").write_text(source(number))
            node.deploy_ms(name, Path(folder))
    with client.Link(node.port) as link:
        if (body := link.ask("GET", node.path(name)).body) != b"2":
            raise RuntimeError(f"the new version answered {body!r}")
    with _loaded(f"http://127.0.0.1:{node.port}{node.path(name)}"):
        time.sleep(1)
        return _measured(node, name)


def _measured(node: Node, name: str) -> float:
    with ThreadPoolExecutor(1) as thread:
        start = time.perf_counter()
        asked = thread.submit(node.ask_raw, "POST", f"/functions/{name}/rollback", b"{}")
        with client.Link(node.port) as link:
            while link.ask("GET", node.path(name)).body != b"1":
                if time.perf_counter() - start > WITHIN_S:
                    raise RuntimeError(f"the old version did not answer within {WITHIN_S} s")
        elapsed_ms = (time.perf_counter() - start) * 1e3
        asked.result()
    return elapsed_ms


@contextmanager
def _loaded(url: str) -> Iterator[None]:
    """Load a URL from a thread; at the end, raise what went wrong with it: no call may fail while versions change."""
    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(load.run, url, connections=CONNECTIONS, seconds=LOAD_S)
        yield
        loading.result()
