"""Nodes for the tests of this folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
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


@pytest.fixture(scope="session")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed tree: what FastAPI and Flask need, from this environment."""
    folder = tmp_path_factory.mktemp("layer")
    wanted, seen = ["fastapi", "flask"], set[str]()
    while wanted:
        name = wanted.pop()
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another platform or Python
        if name in seen:
            continue
        seen.add(name)
        wanted += [re.split(r"[ ;<>=!~\[(]", one)[0] for one in found.requires or () if "extra ==" not in one]
        for file in found.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), folder / file)
    return folder


def _end(node: Node) -> None:
    if not (node.path / "run" / "status.json").is_file():
        return
    for pid in node.pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT if pid else 0)  # a test may have stopped it
    node.cli("down", "--now")
