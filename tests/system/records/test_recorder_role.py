"""The recorder process: the doorbell, drain, and the end of its supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from writing import Acknowledged, fork, kill, write_forever

from wispd.adapters.store.records_doorbell import ring
from wispd.adapters.store.records_query import RecordFilter, RecordQueries
from wispd.app.boot import Message, Peer
from wispd.app.recording import STORE_NAME
from wispd.app.settings import Settings
from wispd.observe.segments import SegmentWriter, list_segments


class Running:
    """A recorder and this test as its supervisor."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = (sys.executable, "-I", "-m", "wispd.app.role", "recorder", "--boot-fd", str(theirs.fileno()))
        self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        theirs.close()
        self.peer = Peer(ours.detach())
        self.peer.send(
            Message(type="boot", role="recorder", node_id="0" * 32, settings=Settings(data_dir=str(folder)))
        )
        received = self.peer.receive()
        assert received is not None
        assert received[0].type == "ready"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.peer.close()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.end()


@pytest.fixture
def said(tmp_path: Path) -> Iterator[Acknowledged]:
    said = Acknowledged(tmp_path / "said")
    yield said
    said.close()


def test_after_the_doorbell_the_record_is_there(tmp_path: Path, recorder: Running, said: Acknowledged) -> None:
    writing = fork(
        lambda: write_forever(tmp_path / "records", said, writer=SegmentWriter, pause=lambda: signal.pause() and None)
    )
    try:
        while said.count() < 64:
            os.sched_yield()
        status = asyncio.run(ring(tmp_path / "run" / "recorder.sock", wait_s=20))
        assert status is not None
        assert (status.state, status.indexed) == ("ok", 64)
        queries = RecordQueries(tmp_path / "records" / STORE_NAME)
        first = queries.page(RecordFilter(namespace="default"), limit=1).items[0]
        assert queries.show(first.invocation_id).bytes_in == 63
        queries.close()
    finally:
        kill(writing)
    status = asyncio.run(ring(tmp_path / "run" / "recorder.sock", wait_s=20))
    assert status is not None
    assert (status.segments, status.unsealed) == (0, 1)


def test_drain_indexes_what_is_left(tmp_path: Path, recorder: Running, said: Acknowledged) -> None:
    writing = fork(
        lambda: write_forever(tmp_path / "records", said, writer=SegmentWriter, pause=lambda: signal.pause() and None)
    )
    while said.count() < 64:
        os.sched_yield()
    kill(writing)
    recorder.peer.send(Message(type="drain", deadline_s=5))
    received = recorder.peer.receive()
    assert received is not None
    assert received[0].type == "drained"
    assert recorder.process.wait(20) == 0
    assert list_segments(tmp_path / "records") == []


def test_without_its_supervisor_it_ends(recorder: Running) -> None:
    recorder.peer.close()
    assert recorder.process.wait(20) == 0


def test_nobody_answers_where_no_recorder_is(tmp_path: Path) -> None:
    assert asyncio.run(ring(tmp_path / "recorder.sock")) is None


def test_a_caller_that_says_nothing_does_not_stop_the_others(tmp_path: Path, recorder: Running) -> None:
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(str(tmp_path / "run" / "recorder.sock"))
    assert asyncio.run(ring(tmp_path / "run" / "recorder.sock", "status", wait_s=20)) is not None
    silent.close()
