"""Several calls at once, and one at a time: order, credit, cancelling, and frames left for others to take back."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from driver import Driver

from wisp.runtime import frames

MEETING = """
import asyncio, threading
barrier = threading.Barrier(3, timeout=15)
here = 0
async def handle_async(event):
    global here
    here += 1
    while here < 3: await asyncio.sleep(0)
    return event.http.path
def handle_plain(event):
    barrier.wait()
    return event.http.path
"""


@pytest.mark.parametrize("handler", ["handle_async", "handle_plain"])
def test_calls_overlap(tmp_path: Path, handler: str) -> None:
    with Driver(tmp_path, MEETING, concurrency=3, handler=f"main:{handler}") as driver:
        driver.ready()
        numbers = [driver.http(f"/{n}") for n in range(3)]
        assert [driver.outcome(number).body for number in numbers] == [b"/0", b"/1", b"/2"]


ORDER = """
import asyncio
running, most, order = 0, 0, []
async def handle(event):
    global running, most
    running += 1; most = max(most, running); order.append(event.http.path[1:])
    for _ in range(20): await asyncio.sleep(0)
    running -= 1
    return [most, order]
"""


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_than_allowed_run_and_the_rest_in_order(tmp_path: Path, concurrency: int) -> None:
    with Driver(tmp_path, ORDER, concurrency=concurrency) as driver:
        driver.ready()
        numbers = [driver.http(f"/{n}") for n in range(9)]
        answers = [driver.outcome(number).json() for number in numbers]
        assert max(most for most, _ in answers) == concurrency
        assert answers[-1][1] == [str(n) for n in range(9)]


@pytest.mark.parametrize("handler", ["handle_async", "handle_plain"])
def test_events_behind_a_running_one_can_be_taken_back(tmp_path: Path, handler: str) -> None:
    """The gateway keeps a duplicate of the instance's end; what it takes there was provably never begun."""
    code = """
    import asyncio, os, time
    async def handle_async(event):
        if event.http.path == "/wait":
            print("x" * 40_000)  # too much to ride with the outcome: it says that this has begun
            while not os.path.exists(event.http.query["file"]): await asyncio.sleep(0.001)
        return event.http.path
    def handle_plain(event):
        if event.http.path == "/wait":
            print("x" * 40_000)
            while not os.path.exists(event.http.query["file"]): time.sleep(0.001)
        return event.http.path
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, Driver(tmp_path, code, handler=f"main:{handler}", pair=(ours, theirs)) as driver:
        driver.ready()
        assert driver.get("/first").body == b"/first"
        waiting = driver.http(f"/wait?file={tmp_path / 'go'}")
        assert driver.receive().type == frames.LOG
        queued = driver.http("/queued")
        packet = theirs.recv(frames.PACKET_MAX, socket.MSG_DONTWAIT)
        assert frames.parse(packet).call == queued
        (tmp_path / "go").touch()
        assert driver.outcome(waiting).body == b"/wait"
        driver.link.send(packet)
        assert driver.outcome(queued).body == b"/queued"


def test_a_cancelled_async_handler_is_stopped(tmp_path: Path) -> None:
    code = """
    import asyncio
    seen = []
    async def handle(event):
        if event.http.path == "/seen": return seen
        try: await asyncio.Event().wait()
        except asyncio.CancelledError: seen.append("cancelled"); raise
    """
    with Driver(tmp_path, code, concurrency=2) as driver:
        driver.ready()
        number = driver.http("/wait")
        driver.send(frames.CANCEL, number, meta=frames.CANCEL_DISCONNECTED)
        answer = driver.outcome(number)
        assert answer.is_error
        assert driver.get("/seen").json() in (["cancelled"], [])


@pytest.mark.parametrize("code", ["def handle(event): return g()", "async def handle(event): return g()"])
def test_a_stream_waits_for_credit_and_ends_when_nobody_reads(tmp_path: Path, code: str) -> None:
    endless = (
        "closed = []\ndef g():\n    try:\n        while True: yield b'x' * 50_000\n    finally: print('closed')\n"
    )
    with Driver(tmp_path, endless + code, concurrency=2) as driver:
        driver.ready()
        number = driver.http("/")
        got = [driver.next(lambda one: one.call == number) for _ in range(frames.WINDOW_SIZE // 50_000)]
        assert sum(len(frame.body) for frame in got) == 250_000
        driver.send(frames.WINDOW, number, head=frames.WINDOW_HEAD.pack(50_000))
        assert len(driver.next(lambda one: one.call == number).body) == 50_000
        driver.send(frames.CANCEL, number, meta=frames.CANCEL_DISCONNECTED)
        frame = driver.next(lambda one: one.call == number)
        assert (frame.type, frame.body) == (frames.LOG, b"closed\n")
        last = driver.next(lambda one: one.call == number)
        assert last.flags & frames.ERROR
        assert not last.flags & frames.MORE


@pytest.mark.parametrize(
    "code",
    [
        "def handle(event): return str(len(event.raw))",
        "async def handle(event): return str(len(event.raw))",
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [str(len(environ['wsgi.input'].read())).encode()]",
    ],
    ids=["plain", "async", "wsgi"],
)
def test_request_bodies_are_granted_as_they_are_read(tmp_path: Path, code: str) -> None:
    with Driver(tmp_path, code, concurrency=2) as driver:
        driver.ready()
        number = driver.http("/", method="POST", body=b"a" * 60_000, more=True)
        for _ in range(8):
            driver.body(number, b"b" * 60_000, more=True)
            grant = driver.next(lambda one: one.type == frames.WINDOW)
            assert grant.call == number
        driver.body(number, b"c")
        assert driver.outcome(number).body == str(60_000 * 9 + 1).encode()


def test_a_large_answer_takes_turns_with_others(tmp_path: Path) -> None:
    code = "def handle(event): return b'x' * 1_000_000 if event.http.path == '/big' else 'small'"
    with Driver(tmp_path, code, concurrency=2) as driver:
        driver.ready()
        big = driver.http("/big")
        assert driver.get("/small").body == b"small"
        assert driver.outcome(big, window=True).body == b"x" * 1_000_000
