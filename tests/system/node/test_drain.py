"""SIGTERM drains: running calls finish, new ones are told to come back later."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import httpx
import pytest
from nodes import Node, eventually, gone

SLOW = """
import time

def handle(event, context):
    time.sleep(float(event.http.query.get("s", "0")))
    return "done"
"""


def calling(node: Node, path: str) -> tuple[threading.Thread, list[object]]:
    """Call in a thread; the list gets the answer or the error."""
    got: list[object] = []

    def call() -> None:
        try:
            got.append(node.get(path))
        except httpx.TransportError as error:
            got.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, got


def busy(node: Node) -> bool:
    rows = node.json("status")["functions"]
    return any(row["name"] == "slow" and row["instances"]["busy"] for row in rows)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_calls_finish_and_new_ones_are_refused(node: Node, number: int) -> None:
    node.deploy("slow", SLOW)
    assert node.get("/fn/slow").text == "done"
    thread, got = calling(node, "/fn/slow?s=3")
    eventually(lambda: busy(node), "the call runs")
    pids = node.pids()
    os.kill(pids[0], number)
    eventually(lambda: node.status()["state"] == "draining", "draining")
    refused = node.get("/fn/hello")
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["code"] == "draining"
    thread.join(30)
    answer = got[0]
    assert isinstance(answer, httpx.Response)
    assert (answer.status_code, answer.text) == (200, "done")
    eventually(lambda: gone(pids), "all processes are gone")


def test_the_wait_for_running_calls_is_bounded(offline: Node) -> None:
    offline.up("--drain", "0.5")
    offline.deploy("slow", SLOW)
    thread, got = calling(offline, "/fn/slow?s=25")
    eventually(lambda: busy(offline), "the call runs")
    offline.down()
    thread.join(30)
    assert not (isinstance(got[0], httpx.Response) and got[0].status_code == 200)


def test_a_second_signal_ends_the_wait(node: Node) -> None:
    node.deploy("slow", SLOW)
    thread, got = calling(node, "/fn/slow?s=25")
    eventually(lambda: busy(node), "the call runs")
    pids = node.pids()
    os.kill(pids[0], signal.SIGTERM)
    eventually(lambda: node.status()["state"] == "draining", "draining")
    os.kill(pids[0], signal.SIGTERM)
    eventually(lambda: gone(pids), "all processes are gone")
    thread.join(30)
    assert not (isinstance(got[0], httpx.Response) and got[0].status_code == 200)


def test_records_of_the_last_calls_are_there_at_the_next_start(node: Node, tmp_path: Path) -> None:
    answer = node.get("/fn/hello")
    node.down()
    node.up()
    record = node.json("invocation", "show", answer.headers["wisp-invocation-id"])
    assert record["status"] == "ok"
    assert "hello log" in record["log"][0]["text"]
