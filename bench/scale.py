"""A hundred thousand functions: how fast they come in, what looking one up takes, and how soon a node serves them."""

from __future__ import annotations

import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import client
import load
import machine
from node import Node

from wispd.gateway.journal import JournalReader
from wispd.gateway.router import RouteTable
from wispd.model.published import JOURNAL_NAME

COUNT = 100_000
BATCH = 10_000  # functions of one request
ROUNDS = 5  # of the comparison; the two nodes take turns, so that other work on the machine hits both alike
LOOKUPS = 50_000  # more than the table's cache holds


class Bulk(NamedTuple):
    """What registering took and left."""

    names: list[str]
    rate_per_s: float
    bytes_each: float


def register(node: Node, folder: Path, count: int = COUNT) -> Bulk:
    """Deploy many functions in batches; measure the rate, and what gateway and control grew by."""
    names = [f"bulk-{index}" for index in range(count)]
    document = node.document(folder)
    roles = node.role_pids("gateway", "control")
    before = sum(machine.resident_bytes(pid) for pid in roles)
    elapsed = 0.0
    for first in range(0, count, BATCH):
        lines = b"".join(
            json.dumps({"name": name, **document}).encode() + b"\n" for name in names[first : first + BATCH]
        )
        start = time.perf_counter()
        answer = node.ask_raw("POST", "/functions:batch", lines, kind="application/x-ndjson")
        elapsed += time.perf_counter() - start
        refused = [line for line in map(json.loads, answer.splitlines()) if "error" in line]
        if refused:
            raise RuntimeError(f"{len(refused)} lines were refused: {refused[0]}")
    time.sleep(2)
    answers(node, names[-1])
    grown = sum(machine.resident_bytes(pid) for pid in roles) - before
    return Bulk(names, count / elapsed, grown / count)


def start_s(node: Node, name: str) -> float:
    """Kill the node and start it again; return the seconds until it is ready and a function answers."""
    node.kill()
    start = time.perf_counter()
    node.start()
    answers(node, name)
    return time.perf_counter() - start


def lookup_us(node: Node, names: Sequence[str]) -> tuple[float, float]:
    """Look up functions in a table that the gateway's reader filled from the node's journal.

    Returns µs: the median of functions that were called before but are not in the cache, and the median of first
    lookups, which decode the function's line too.
    """
    with tempfile.TemporaryDirectory(prefix="wisp-bench-") as folder:
        shutil.copy(node.folder / "data/published" / JOURNAL_NAME, folder)
        table = RouteTable("localhost")
        JournalReader(Path(folder), table).refresh()
    chosen = random.Random(7).sample(names, min(LOOKUPS, len(names)))
    paths = [node.path(name).encode() for name in chosen]
    first, again = (_lookups(table, paths) for _ in range(2))
    return statistics.median(again), statistics.median(first)


def _lookups(table: RouteTable, paths: Sequence[bytes]) -> list[float]:
    taken = []
    for path in paths:
        start = time.perf_counter_ns()
        match = table.resolve(b"127.0.0.1", path, b"GET")
        taken.append((time.perf_counter_ns() - start) / 1e3)
        if match is None or match.function is None:
            raise RuntimeError(f"{path!r} is not in the table")
    return taken


def slope(small: Node, small_name: str, full: Node, full_name: str, seconds: float) -> tuple[float, float, float]:
    """Return the ratio of the warm medians of a full and of a small node, and the medians (µs)."""
    core = machine.quiet_core()
    ones = [(small, f"http://127.0.0.1:{small.port}{small.path(small_name)}")]
    ones.append((full, f"http://127.0.0.1:{full.port}{full.path(full_name)}"))
    taken: tuple[list[float], list[float]] = ([], [])
    with machine.pinned({core}):
        for node, url in ones:
            machine.pin_tree(node.pid, {core})
            load.run(url, connections=1, seconds=1)
        try:
            for _ in range(ROUNDS):
                for (_, url), medians in zip(ones, taken, strict=True):
                    medians.append(load.run(url, connections=1, seconds=seconds).p50_us)
        finally:
            for node, _ in ones:
                machine.pin_tree(node.pid, node.cores)
    one, many = (statistics.median(medians) for medians in taken)
    return many / one, one, many


def answers(node: Node, name: str) -> None:
    """Raise unless the function answers well."""
    with client.Link(node.port) as link:
        answer = link.ask("GET", node.path(name))
    if answer.status != 200:
        raise RuntimeError(f"answer {answer.status}: {answer.body[:300]!r}")
