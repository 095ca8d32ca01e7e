"""What a function prints: whose it is, in which order, and how much of it is kept."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from driver import Driver

from wisp.runtime import frames
from wisp.runtime.invocation import Invocation
from wisp.runtime.logs import CALL_MAX, CUT, FULL, LINE_MAX, Lines

PRINTING = """
import logging, os, subprocess, sys, threading, warnings
from concurrent.futures import ThreadPoolExecutor
print("imported")
library = logging.getLogger("some.library")
pool = ThreadPoolExecutor(2)

def handle(event, context):
    do = event.http.path[1:]
    if do == "print":
        print("grüß", 1, sep="-"); sys.stderr.write("half "); sys.stderr.write("line\\n"); print("no end", end="")
    elif do == "buffer":
        sys.stdout.buffer.write(b"raw \\xff\\n"); sys.stdout.buffer.flush()
    elif do == "logging":
        logging.info("not shown"); logging.warning("w %d", 1); library.error("e"); context.log.info("mine")
        try: 1 / 0
        except ZeroDivisionError: logging.exception("caught")
    elif do == "thread":
        thread = threading.Thread(target=lambda: print("from a thread")); thread.start(); thread.join()
    elif do == "pool":
        pool.submit(print, "from the pool " + event.http.query["n"]).result()
    elif do == "many":
        for n in range(4000): print(n, "x" * 40)
    elif do == "long":
        print("a" * 70_000); print("b")
    elif do == "huge":
        for n in range(300): print("y" * 9_999)
    elif do == "fail":
        print("before"); raise ValueError("no")
    elif do == "stream":
        def pieces():
            print("one"); yield "1"; print("two"); yield "2"; print("three")
        return pieces()
    elif do == "surrogate":
        print("\\ud800")
    elif do == "fileno":
        return [sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.isatty(), sys.stdout.encoding]
    elif do == "child":
        subprocess.run(["echo", "from a child"], stdout=sys.stdout); print("parent")
    elif do == "fork":
        child = os.fork()
        if child == 0:
            print("in the fork"); os._exit(0)
        os.waitpid(child, 0)
    elif do == "forkreturn":
        if os.fork() == 0:
            return "from the child"
        os.wait()
"""


@pytest.fixture(scope="module")
def printing(tmp_path_factory: pytest.TempPathFactory) -> object:
    with Driver(tmp_path_factory.mktemp("printing"), PRINTING) as driver:
        yield driver.ready()


def test_output_while_importing_is_the_instances(printing: Driver) -> None:
    assert [(frame.call, frame.body) for frame in printing.stray[:1]] == [(0, b"imported\n")]


@pytest.mark.parametrize(
    ("do", "text"),
    [
        ("none", ""),
        ("print", "grüß-1\nhalf line\nno end"),
        ("thread", "from a thread\n"),
        ("fail", "before\n"),
        ("stream", "one\ntwo\nthree\n"),
        ("surrogate", "\\ud800\n"),
    ],
)
def test_output_rides_with_its_call(printing: Driver, do: str, text: str) -> None:
    assert printing.get(f"/{do}").log.decode() == text


def test_bytes_are_taken_as_they_are(printing: Driver) -> None:
    assert printing.get("/buffer").log == b"raw \xff\n"


def test_log_records_have_their_level(printing: Driver) -> None:
    log = printing.get("/logging").log.decode()
    assert log.startswith("WARNING w 1\nERROR e\nINFO mine\nERROR caught\nTraceback")
    assert log.endswith("ZeroDivisionError: division by zero\n")


def test_a_thread_pool_prints_for_the_call_that_submitted(printing: Driver) -> None:
    for n in "123":
        assert printing.get(f"/pool?n={n}").log == f"from the pool {n}\n".encode()


def test_much_output_leaves_in_frames_before_the_outcome(printing: Driver) -> None:
    answer = printing.get("/many")
    assert answer.log.decode().splitlines() == [f"{n} {'x' * 40}" for n in range(4000)]
    assert answer.dropped == 0


def test_a_long_line_is_cut_with_a_mark(printing: Driver) -> None:
    assert printing.get("/long").log == b"a" * LINE_MAX + CUT + b"\nb\n"


def test_output_above_the_limit_is_counted(printing: Driver) -> None:
    answer = printing.get("/huge")
    lines = answer.log.splitlines(keepends=True)
    assert lines[-1] == FULL
    assert len(answer.log) <= CALL_MAX + len(FULL)
    assert answer.dropped == 300 - (len(lines) - 1)
    assert printing.get("/print").dropped == 0, "the next call has its own room"


def test_files_and_children_use_the_pipe(printing: Driver) -> None:
    assert printing.get("/fileno").json() == [1, 2, False, "utf-8"]
    assert printing.get("/child").log == b"parent\n"


def test_a_fork_of_the_functions_own_cannot_answer(tmp_path: Path) -> None:
    with Driver(tmp_path, PRINTING) as driver:
        driver.ready()
        assert driver.get("/fork").log == b""
        answer = driver.get("/forkreturn")
        assert (answer.status, answer.body) == (204, b"")
        assert driver.get("/print").status == 204
        driver.link.shutdown(2)
        driver.process.wait(20)
        assert "in the fork" in driver.output()


def test_a_function_may_configure_logging(tmp_path: Path) -> None:
    code = """
    import logging
    logging.basicConfig(level=logging.DEBUG, format="%(name)s|%(message)s")
    def handle(event): logging.debug("hi"); logging.getLogger("a.b").info("there")
    """
    with Driver(tmp_path, code) as driver:
        assert driver.ready().get("/").log == b"root|hi\na.b|there\n"


def test_basic_config_with_a_level_alone_keeps_the_format(tmp_path: Path) -> None:
    code = "import logging\nlogging.basicConfig(level='INFO')\ndef handle(event): logging.info('hi')"
    with Driver(tmp_path, code) as driver:
        assert driver.ready().get("/").log == b"INFO hi\n"


def test_a_call_that_runs_long_sends_its_output_ahead(tmp_path: Path) -> None:
    """The handler waits for a file that appears when its line has arrived: it cannot have come with the outcome."""
    code = """
    import os, time
    def handle(event):
        print("working")
        while not os.path.exists(event.http.query["file"]):
            time.sleep(0.01)
        print("done")
    """
    with Driver(tmp_path, code) as driver:
        driver.ready()
        seen = tmp_path / "seen"
        number = driver.http(f"/?file={seen}")
        frame = driver.next(lambda one: one.type in (frames.LOG, frames.OUTCOME))
        assert (frame.type, frame.call, frame.body) == (frames.LOG, number, b"working\n")
        seen.touch()
        assert driver.outcome(number).log == b"done\n"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_calls_at_once_keep_their_output_apart(tmp_path: Path, asynchronous: bool) -> None:
    code = """
    import asyncio, threading
    barrier = threading.Barrier(4, timeout=15)
    started = 0
    async def hurdle():
        global started
        started += 1
        while started < 4:
            await asyncio.sleep(0)
    """ + (
        """
    async def handle(event):
        name = event.http.path
        print("a", name); await hurdle(); print("b", name)
        await asyncio.to_thread(print, "c", name)
    """
        if asynchronous
        else """
    def handle(event):
        name = event.http.path
        print("a", name); barrier.wait(); print("b", name)
        thread = threading.Thread(target=print, args=("c", name)); thread.start(); thread.join()
    """
    )
    with Driver(tmp_path, code, concurrency=4) as driver:
        driver.ready()
        numbers = {driver.http(f"/{name}"): name for name in "wxyz"}
        for number, name in numbers.items():
            assert driver.outcome(number).log.decode() == f"a /{name}\nb /{name}\nc /{name}\n"


def test_lines_take_at_the_end_of_a_line_or_a_character() -> None:
    lines = Lines(1)
    lines.add("ab\ncde\nü".encode())
    assert lines.take(6) == b"ab\n"
    assert lines.take(5) == b"cde\n"
    assert lines.take(1) == b""
    assert lines.take(2) == "ü".encode()


def test_a_line_in_many_pieces_is_cut_once() -> None:
    lines = Lines(1)
    for _ in range(70):
        lines.add(b"z" * 1_000)
    lines.add(b"\nnext\n")
    assert bytes(lines.pending) == b"z" * LINE_MAX + CUT + b"\nnext\n"


def test_nothing_is_made_for_a_call_that_prints_nothing() -> None:
    packet = frames.pack(frames.INVOKE, 1, head=frames.INVOKE_HEAD.pack(0, 0, bytes(16), 0, 0))
    assert Invocation(packet).lines is None
    assert threading.active_count() >= 1
