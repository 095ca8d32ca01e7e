"""SPECIFICATION.md and what proves it: every promise names a test or a bench row that exists, or is pending."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SPECIFICATION.md").read_text()
PROOF = re.compile(r"`(tests/[\w/.-]+\.py(?:::\w+)*|bench:[\w.-]+)`")


def promises() -> list[tuple[str, str]]:
    """Return (number, text) of every promise: a list item `- **1.2** …`, with its continuation lines."""
    items = re.findall(r"^- \*\*([\d.]+[a-z]?)\*\* (.*?)(?=^- |^#|^$|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return [(number, " ".join(text.split())) for number, text in items]


def test_promises_are_numbered_once() -> None:
    numbers = [number for number, _ in promises()]
    assert len(numbers) > 50
    assert sorted({n for n in numbers if numbers.count(n) > 1}) == []
    assert len(numbers) == len(re.findall(r"^- ", TEXT, re.MULTILINE)), "an item without a number"
    counted = [tuple(int(part) for part in re.findall(r"\d+", number)) for number in numbers]
    assert counted == sorted(counted), "out of order"


@pytest.mark.parametrize(("number", "text"), promises(), ids=[number for number, _ in promises()])
def test_a_promise_is_proved_or_pending(number: str, text: str) -> None:
    promise, arrow, proof = text.rpartition("→")
    assert arrow, f"{number} names nothing that proves it"
    assert promise.strip(), f"{number} promises nothing"
    if proof.strip().startswith("pending"):
        assert re.search(r"pending: `[^`]+`", proof), f"{number} is pending without the command that would show it"
        return
    named = PROOF.findall(proof)
    assert named, f"{number} names no test and no bench row: {proof}"
    assert [name for name in named if not _exists(name)] == []


def test_the_reader_of_proofs_finds_what_is_missing() -> None:
    assert _exists("tests/spec/test_specification.py::promises") is False
    assert _exists("tests/spec/test_specification.py::test_promises_are_numbered_once")
    assert _exists("tests/nowhere/test_x.py::test_x") is False
    assert _exists("bench:no_such_row") is False


def _exists(name: str) -> bool:
    if name.startswith("bench:"):
        return name.removeprefix("bench:") in _rows()
    file, *inner = name.split("::")
    path = ROOT / file
    if not path.is_file():
        return False
    return not inner or inner[-1] in _tests(path)


def _tests(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.name.lower().startswith("test")
    }


def _rows() -> set[str]:
    """The names of the bench's rows: a table of literals, read without running the bench."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        from targets import TARGETS
    finally:
        sys.path.pop(0)
    return set(TARGETS)
