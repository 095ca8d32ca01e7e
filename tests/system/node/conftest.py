"""Nodes for the tests of this folder."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nodes import Node

HELLO = """
def handle(event, context):
    print("hello log")
    return "hello"
"""


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Node]:
    """A data directory; whatever runs on it at the end is ended."""
    node = Node(tmp_path)
    yield node
    _end(node)


@pytest.fixture
def node(offline: Node) -> Node:
    """A node of one's own, with `hello` deployed: for tests that kill."""
    offline.up()
    offline.deploy("hello", HELLO)
    return offline


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for a file of tests that leave it as it is, with `hello` deployed."""
    node = Node(tmp_path_factory.mktemp("shared"))
    try:
        node.up()
        node.deploy("hello", HELLO)
        yield node
    finally:
        _end(node)


def _end(node: Node) -> None:
    if not (node.path / "run" / "status.json").is_file():
        return
    for pid in node.pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT if pid else 0)  # a test may have stopped it
    node.cli("down", "--now")
