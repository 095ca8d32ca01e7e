"""What user code raises, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from driver import Driver

from wisp.runtime import frames

FAILING = """
import os, sys

class Silent(Exception):
    def __str__(self): raise RuntimeError("str fails")

class Hostile(Exception):
    def __str__(self): raise SystemExit(1)
    __repr__ = __str__

class Endless(Exception):
    def __str__(self): return "x" * 10_000_000

def recurse(n): return recurse(n + 1)

def cause():
    try: 1 / 0
    except ZeroDivisionError as error: raise LookupError("outer") from error

def plain(): raise ValueError("line one\\nline two")

DO = {
    "plain": plain, "cause": cause, "recurse": lambda: recurse(0), "exit": lambda: sys.exit(3),
    "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()), "generatorexit": lambda: (_ for _ in ()).throw(
    GeneratorExit()), "group": lambda: (_ for _ in ()).throw(ExceptionGroup("many", [ValueError(1), TypeError(2)])),
    "silent": lambda: (_ for _ in ()).throw(Silent()), "hostile": lambda: (_ for _ in ()).throw(Hostile()),
    "endless": lambda: (_ for _ in ()).throw(Endless()), "osexit": lambda: os._exit(7),
    "surrogate": lambda: (_ for _ in ()).throw(ValueError("\\ud800")), "memory": lambda: bytearray(1 << 62),
    "empty": lambda: (_ for _ in ()).throw(ValueError()), "ok": lambda: 1,
}
"""
PLAIN = FAILING + "def handle(event, context): return DO[event.http.path[1:]]()"
ASYNC = FAILING + "async def handle(event, context): return DO[event.http.path[1:]]()"


@pytest.fixture(scope="module", params=[PLAIN, ASYNC], ids=["plain", "async"])
def failing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    with Driver(tmp_path_factory.mktemp("failing"), request.param) as driver:
        yield driver.ready()


@pytest.mark.parametrize(
    ("do", "line"),
    [
        ("plain", "ValueError: line one\nline two"),
        ("cause", "LookupError: outer"),
        ("recurse", "RecursionError: maximum recursion depth exceeded"),
        ("exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt"),
        ("generatorexit", "GeneratorExit"),
        ("group", "ExceptionGroup: many (2 sub-exceptions)"),
        ("silent", "Silent: <str() of it raised RuntimeError>"),
        ("hostile", "Hostile: <str() of it raised SystemExit>"),
        ("surrogate", "ValueError: \\ud800"),
        ("memory", "MemoryError"),
        ("empty", "ValueError"),
    ],
)
def test_every_exception_is_an_error_outcome(failing: Driver, do: str, line: str) -> None:
    answer = failing.get(f"/{do}")
    assert answer.is_error
    assert answer.block.decode() == line
    assert failing.get("/ok").json() == 1


def test_the_traceback_is_the_functions_own(failing: Driver) -> None:
    text = failing.get("/plain").body.decode()
    assert text.startswith("Traceback (most recent call last):\n")
    assert "in handle" in text
    assert "in plain" in text
    assert "wisp/runtime" not in text
    assert "ZeroDivisionError" in failing.get("/cause").body.decode()


def test_what_is_endless_is_cut(failing: Driver) -> None:
    answer = failing.get("/endless")
    assert len(answer.block) <= frames.MESSAGE_MAX
    assert len(answer.body) <= frames.TRACE_MAX
    assert b"[...]" in answer.body


def test_leaving_the_process_ends_the_instance(tmp_path: Path) -> None:
    with Driver(tmp_path, PLAIN) as driver:
        driver.ready().http("/osexit")
        assert driver.ended()
        assert driver.process.returncode == 7


def test_an_exit_in_a_task_of_the_functions_own_does_not_end_the_instance(tmp_path: Path) -> None:
    code = """
    import asyncio
    tasks = []
    async def leave(): raise SystemExit(1)
    async def handle(event):
        tasks.append(asyncio.create_task(leave()))
        await asyncio.sleep(0); await asyncio.sleep(0)
        return 1
    """
    with Driver(tmp_path, code) as driver:
        driver.ready()
        assert driver.get("/").json() == 1
        assert driver.get("/").json() == 1
