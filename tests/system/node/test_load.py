"""A node under more than it can do: what is refused, what goes on, and that nothing is lost (reliability group E)."""

from __future__ import annotations

import threading
from concurrent import futures

import httpx
from nodes import Node, eventually

NAP = "import time\ndef handle(event, context):\n    time.sleep(0.4)\n    return 'done'\n"
BURN = "def handle(event, context):\n    while True:\n        pass\n"
NUMBERED = "def handle(event, context):\n    return {number}\n"
FLOOD = """
import sys
def handle(event, context):
    line = "x" * 999
    for _ in range(20_000):
        print(line)
    sys.stdout.write("y" * 2_000_000 + "\\n")
    print("\\x1b]0;title\\x07 last")
    return "done"
"""


def limited(node: Node, concurrency: int) -> None:
    """Start a node that lets so many calls run at once."""
    node.path.mkdir()
    (node.path / "wisp-node.toml").write_text(f"[limits]\nconcurrency = {concurrency}\n")
    node.up()


def test_ten_times_too_much_is_answered_or_refused_and_then_all_is_well(offline: Node) -> None:
    """E1: the rest is 429 with Retry-After; every admitted call has one record; afterwards a call is served."""
    limited(offline, 4)
    offline.deploy("nap", NAP)
    with futures.ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(lambda _: offline.get("/fn/nap"), range(40)))
    codes = [answer.status_code for answer in answers]
    assert set(codes) <= {200, 429}
    assert codes.count(200) >= 4
    assert codes.count(429) >= 20
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429)
    assert offline.get("/fn/nap").status_code == 200
    calls = sum(row["calls"] for row in offline.json("usage")["items"])
    assert calls == codes.count(200) + 1


def test_deploying_under_load_fails_no_call(shared: Node) -> None:
    """E11: versions change while calls come; none fails, and after a deployment returned only its version answers."""
    shared.deploy("rolling", NUMBERED.format(number=0))
    stop, seen, failed = threading.Event(), set[int](), list[str]()

    def call() -> None:
        with httpx.Client(base_url=shared.url, timeout=30, trust_env=False) as client:
            while not stop.is_set():
                answer = client.get("/fn/rolling")
                if answer.status_code == 200:
                    seen.add(answer.json())
                else:
                    failed.append(answer.text)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 6):
        shared.deploy("rolling", NUMBERED.format(number=number))
        assert shared.get("/fn/rolling").json() == number
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed, failed[:3]
    assert {0, 5} <= seen | {shared.get("/fn/rolling").json()}


def test_functions_that_burn_every_cpu_leave_the_node_usable(shared: Node) -> None:
    """E3: busy loops on every core; other functions, status and deployments still answer; then they are ended."""
    shared.deploy("burn", BURN, "--timeout", "4s")
    shared.deploy("beside", NUMBERED.format(number=7))
    with futures.ThreadPoolExecutor(4) as threads:
        burning = [threads.submit(shared.get, "/fn/burn") for _ in range(4)]
        eventually(lambda: _busy(shared, "burn") >= 2, "the loops run")
        assert shared.get("/fn/beside").json() == 7
        assert shared.json("status")["state"] == "ready"
        shared.deploy("beside", NUMBERED.format(number=8))
        assert shared.get("/fn/beside").json() == 8
        assert [one.result().status_code for one in burning] == [504] * 4
    eventually(lambda: _busy(shared, "burn") == 0, "the loops are gone")


def _busy(node: Node, name: str) -> int:
    for one in node.json("status")["functions"]:
        if one["name"] == name:
            return int(one["instances"]["busy"] + one["instances"]["starting"])
    return 0


def test_a_flood_of_output_is_cut_and_the_call_ends(shared: Node) -> None:
    """E7: 20 MB of lines, one line of 2 MB, terminal escapes: the call answers, the record says what was dropped."""
    shared.deploy("flood", FLOOD)
    answer = shared.get("/fn/flood")
    assert (answer.status_code, answer.text) == (200, "done")
    record = shared.json("invocation", "show", answer.headers["wisp-invocation-id"])
    size = sum(len(line["text"]) for line in record["log"])
    assert 0 < size < 4_000_000
    assert record["log_dropped"] > 0
    assert shared.get("/fn/flood").status_code == 200
