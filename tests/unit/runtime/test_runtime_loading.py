"""From INIT to READY or FAILED: handlers found, and what is said when they are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from driver import ROOT, Driver

from wisp.runtime import frames

ONE = "def handle(event, context): return __name__"


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "handler", "answer"),
    [
        ({"main.py": ONE}, "main:handle", "main"),
        ({"main.py": ONE}, "main.handle", "main"),
        ({"main.py": ONE}, "main.py", "main"),
        ({"main.py": ONE}, "main.py:handle", "main"),
        ({"main.py": ONE}, "main", "main"),
        ({"main.py": ONE}, "", "main"),
        ({"anything.py": ONE}, "", "anything"),
        ({"a.py": "", "b.py": "", "handler.py": ONE}, "", "handler"),
        ({"pkg/__init__.py": "", "pkg/mod.py": ONE}, "pkg.mod.handle", "pkg.mod"),
        ({"pkg/__init__.py": "", "pkg/mod.py": ONE}, "pkg/mod.handle", "pkg.mod"),
        ({"pkg/__init__.py": "", "pkg/mod.py": ONE}, "pkg.mod", "pkg.mod"),
        ({"pkg/__init__.py": ONE}, "", "pkg"),
        ({"sub/mod.py": ONE}, "sub.mod:handle", "sub.mod"),
        ({"main.py": "class A:\n    def run(self, e): return 'run'\na = A()"}, "main:a.run", "run"),
        ({"main.py": "import other\ndef handle(e): return other.NAME", "other.py": "NAME = 'other'"}, "", "other"),
        ({"queue.py": "def handle(e): return __file__[-8:]"}, "queue:handle", "queue.py"),
        ({"queue.py": "", "main.py": "import queue\ndef handle(e): return hasattr(queue, 'Queue')"}, "main", True),
        ({"copy.py": "raise Exception", "main.py": "import asyncio\nasync def handle(e): return 1"}, "main", 1),
        ({"json.py": "raise Exception", "main.py": "def handle(e): return {}"}, "main", {}),
    ],
)
def test_handlers_are_found(tmp_path: Path, files: dict[str, str], handler: str, answer: Any) -> None:
    with Driver(tree(tmp_path, files), handler=handler) as driver:
        got = driver.ready().get("/")
        assert not got.is_error, got.body
        assert (got.json() if got.headers["content-type"] == "application/json" else got.body.decode()) == answer


@pytest.mark.parametrize(
    ("files", "settings", "failure", "words"),
    [
        ({"main.py": "def other(): pass\nX = 1"}, {"handler": "main:handle"}, 2, ["no 'handle'", "other()", "X"]),
        ({"main.py": "def other(): pass"}, {}, 2, ["looked for", "lambda_handler", "other()"]),
        ({"main.py": ""}, {}, 2, ["it defines nothing"]),
        ({"main.py": "handle = 3"}, {"handler": "main:handle"}, 2, ["int", "can't be called"]),
        ({"a.py": "", "b.py": ""}, {}, 2, ["a, b"]),
        ({"readme.txt": ""}, {}, 2, ["no Python file", "readme.txt"]),
        ({}, {}, 2, ["empty"]),
        ({"a.py": ""}, {"handler": "nope.handle"}, 2, ["'nope'", "a"]),
        (
            {"main.py": "import nothing_like_it"},
            {},
            1,
            ["ModuleNotFoundError", "nothing_like_it", "(main.py, line 1)"],
        ),
        ({"main.py": "1 / 0"}, {}, 1, ["ZeroDivisionError: division by zero (main.py, line 1)"]),
        (
            {"main.py": "\nimport below.deep", "below/deep.py": "\n\nimport json\njson.loads('x')"},
            {},
            1,
            ["(below/deep.py, line 4)"],
        ),
        ({"main.py": "def f(:"}, {}, 1, ["SyntaxError"]),
        ({"main.py": "raise SystemExit(4)"}, {}, 3, ["exit(4)"]),
        ({"main.py": "raise KeyboardInterrupt"}, {}, 1, ["KeyboardInterrupt"]),
        ({"main.py": ONE}, {"dialect": "cobol"}, 4, ["'cobol'", "native"]),
        ({"main.py": ONE}, {"env": {"A": 1}}, 4, ["'A'"]),
        ({"main.py": ONE}, {"handler": 7}, 4, ["handler is int"]),
        ({"main.py": ONE}, {"code": "/nowhere/at/all"}, 2, ["can't be read"]),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, files: dict[str, str], settings: dict[str, Any], failure: int, words: list[str]
) -> None:
    with Driver(tree(tmp_path, files)) as driver:
        driver.settings.update(settings)
        frame = driver.failed()
        assert frame.meta == failure
        for word in words:
            assert word in frame.head.decode(), frame.head
        assert driver.ended()
        assert driver.process.returncode == 0


def test_a_failed_import_comes_with_its_traceback_and_output(tmp_path: Path) -> None:
    with Driver(tmp_path, "print('trying')\ndef f(): 1 / 0\nf()") as driver:
        frame = driver.failed()
        assert driver.stray[0].body == b"trying\n"
        text = frame.body.decode()
        assert "in f" in text
        assert "wisp/runtime" not in text
        assert "importlib" not in text


@pytest.mark.parametrize(
    ("code", "settings", "dialect"),
    [
        ("def handle(e, c): pass", {}, "native"),
        ("def lambda_handler(e, c): pass", {}, "lambda"),
        ("def handle(e, c): pass\ndef lambda_handler(e, c): pass", {}, "lambda"),
        ("def handler(e, c): pass", {"dialect": "lambda"}, "lambda"),
        ("def lambda_handler(e, c): pass", {"dialect": "native"}, "native"),
        ("def app(environ, start_response): pass\ndef handle(e, c): pass", {}, "wsgi"),
        ("async def app(scope, receive, send): pass\ndef lambda_handler(e, c): pass", {}, "asgi"),
        ("class A:\n    async def __call__(self, scope, receive, send): pass\napp = A()", {}, "asgi"),
        ("def app(e, c): return 1\ndef handle(e, c): pass", {}, "native"),
        ("from flask import Flask\napp = Flask('x')", {}, "wsgi"),
        ("from fastapi import FastAPI\napp = FastAPI()", {}, "asgi"),
        ("from flask import Flask\nshop = Flask('x')", {"handler": "main:shop"}, "wsgi"),
    ],
)
def test_the_dialect_is_found(tmp_path: Path, code: str, settings: dict[str, Any], dialect: str) -> None:
    with Driver(tmp_path, code, **settings) as driver:
        driver.ready()
        assert driver.dialect == dialect


def test_the_environment_and_the_layer(tmp_path: Path) -> None:
    layer = tree(tmp_path / "layer", {"library.py": "WORTH = 1", "shared.py": "FROM = 'layer'"})
    code = """
    import os, sys, time, library, shared
    def handle(event):
        return [os.environ["A"], library.WORTH, shared.FROM, time.tzname[0], list(sys.path)[0]]
    """
    folder = tmp_path / "code"
    tree(folder, {"shared.py": "FROM = 'code'"})
    with Driver(folder, code, layer=str(layer), env={"A": "ü", "TZ": "UTC-3"}) as driver:
        assert driver.ready().get("/").json() == ["ü", 1, "code", "UTC", str(folder)]
    assert not list(tmp_path.rglob("__pycache__")), "code trees are immutable"


def test_ready_says_how_long_it_took(tmp_path: Path) -> None:
    with Driver(tmp_path, "import time\ntime.sleep(0.05)\n" + ONE) as driver:
        init_ns, resident = frames.READY_HEAD.unpack(driver.begin().head)
        assert init_ns > 50_000_000
        assert resident > 1_000_000


# ── the conversation ────────────────────────────────────────────────────────────────────────────────────────────


def test_events_sent_before_ready_are_answered_in_order(tmp_path: Path) -> None:
    with Driver(tmp_path, "def handle(event): return event.http.path") as driver:
        driver.send(frames.HELLO, meta=frames.VERSION)
        driver.send(frames.INIT, head=json.dumps(driver.settings).encode())
        numbers = [driver.http(f"/{n}") for n in range(5)]
        types = [driver.receive() for _ in range(7)]
        assert [frame.type for frame in types] == [frames.HELLO, frames.READY] + [frames.OUTCOME] * 5
        assert [frame.call for frame in types[2:]] == numbers


@pytest.mark.parametrize("code", ["def handle(e): pass", "async def handle(e): pass"])
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize(
    "packet",
    [
        frames.pack(frames.INIT, head=b'{"function":"other"}'),
        b"short",
        frames.HEADER.pack(frames.BODY, 0, 0, 9, 1, 9),
        frames.pack(99),
    ],
    ids=["second INIT", "short", "lying", "unknown type"],
)
def test_a_wrong_frame_ends_the_instance(tmp_path: Path, code: str, concurrency: int, packet: bytes) -> None:
    with Driver(tmp_path, code, concurrency=concurrency) as driver:
        driver.ready()
        assert driver.get("/").status == 204
        driver.link.send(packet)
        assert driver.ended()
        assert "wrong frame" in driver.output()


@pytest.mark.parametrize("code", ["def handle(e): pass", "async def handle(e): pass"])
def test_frames_for_nobody_and_optional_ones_are_ignored(tmp_path: Path, code: str) -> None:
    with Driver(tmp_path, code) as driver:
        driver.ready()
        driver.send(77, flags=frames.OPTIONAL)
        driver.send(frames.BODY, 999, body=b"late")
        driver.send(frames.CANCEL, 999, meta=frames.CANCEL_DISCONNECTED)
        driver.send(frames.REPLY, frames.OWN_CALL | 5, meta=200)
        assert driver.get("/").status == 204


@pytest.mark.parametrize(
    "packet",
    [frames.pack(frames.HELLO, meta=2), frames.pack(frames.INVOKE, 1, head=bytes(36)), b"x"],
    ids=["other version", "INVOKE before INIT", "short"],
)
def test_a_wrong_beginning_ends_the_instance(tmp_path: Path, packet: bytes) -> None:
    with Driver(tmp_path, ONE) as driver:
        driver.link.send(packet)
        assert driver.ended()


@pytest.mark.parametrize("code", ["def handle(e): pass", "async def handle(e): pass"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_end_of_the_link_ends_the_instance(tmp_path: Path, code: str, concurrency: int) -> None:
    with Driver(tmp_path, code, concurrency=concurrency) as driver:
        driver.ready()
        driver.link.close()
        assert driver.process.wait(20) == 0
        assert driver.output() == ""


def test_a_member_that_gets_no_function_ends_quietly(tmp_path: Path) -> None:
    with Driver(tmp_path) as driver:
        driver.link.close()
        assert driver.process.wait(20) == 0


def test_rehearsing_leaves_no_trace(tmp_path: Path) -> None:
    before = """
import os, sys
wisp.runtime.preload()
state = lambda: (sorted(sys.modules), list(sys.path), dict(os.environ), sys.stdout, sys.dont_write_bytecode)
import wisp.runtime.rehearsal, gc
first = state()
wisp.runtime.rehearse()
assert state() == first, set(state()[0]) ^ set(first[0])
print("rehearsed")
"""
    with Driver(tmp_path, ONE, before=before) as driver:
        assert driver.ready().get("/").body == b"main"
        driver.link.close()
        driver.process.wait(20)
        assert driver.output() == "rehearsed\n"


def test_forks_have_random_numbers_of_their_own(tmp_path: Path) -> None:
    code = "import random\ndef handle(event): return random.random()"
    before = "import random\nrandom.seed(1)"
    answers = []
    for name in ("a", "b"):
        with Driver(tmp_path / name, code, before=before) as driver:
            answers.append(driver.ready().get("/").json())
    assert answers[0] != answers[1]


def test_importing_wisp_is_tiny() -> None:
    source = "import sys; before = set(sys.modules); import wisp; print(len(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True, cwd=ROOT, text=True)
    assert int(run.stdout) <= 2, "itself and __future__"
