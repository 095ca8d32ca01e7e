"""Versions of a function on a real node: broken ones, canaries and going back, while callers call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from nodes import Node, eventually

NUMBERED = "def handle(event, context):\n    return {number}\n"
FAILING = "def handle(event, context):\n    raise ValueError('new and bad')\n"
BROKEN = {
    "syntax": ("def handle(:\n", "SyntaxError"),
    "handler": ("other = 1\n", "handle"),
    "dependency": (f"import nowhere_at_all\n{NUMBERED}", "nowhere_at_all"),
    "hanging": (f"import time\ntime.sleep(600)\n{NUMBERED}", "initialisation ran longer than 2 s"),
    "exiting": (f"import os\nos._exit(3)\n{NUMBERED}", ""),
}


class Callers:
    """Clients that call one address without a pause, and what they were told."""

    def __init__(self, node: Node, path: str, count: int = 3) -> None:
        self.seen: dict[int, set[int]] = {number: set() for number in range(count)}  # by caller
        self.failed: list[str] = []
        self.calls = 0
        self._stop = threading.Event()
        self._node, self._path = node, path
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in self.seen]

    def _call(self, number: int) -> None:
        headers = {"X-User": f"caller-{number}"}
        with httpx.Client(base_url=self._node.url, timeout=30, trust_env=False, headers=headers) as client:
            while not self._stop.is_set():
                answer = client.get(self._path)
                self.calls += 1
                if answer.status_code == 200:
                    self.seen[number].add(answer.json())
                else:
                    self.failed.append(answer.text)

    def forget(self) -> None:
        for seen in self.seen.values():
            seen.clear()

    @contextmanager
    def calling(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


@pytest.fixture
def quick(offline: Node) -> Node:
    """A node that gives up on an initialisation after two seconds."""
    offline.path.mkdir()
    (offline.path / "wisp-node.toml").write_text("[limits]\ninit_s = 2.0\n")
    offline.up()
    return offline


def test_broken_versions_fail_with_their_reason_while_the_old_one_serves(quick: Node) -> None:
    """F8: every kind of broken deployment, under load: no call fails, nothing moves, and the reason is told."""
    quick.deploy("target", NUMBERED.format(number=1))
    callers = Callers(quick, "/fn/target")
    with callers.calling():
        for source, reason in BROKEN.values():
            done = quick.cli("deploy", str(quick.write("target", source)), "--json")
            assert done.returncode == 1, done.stdout
            assert reason in done.stdout.decode()
        versions = quick.json("versions", "target")["items"]
    assert [one["number"] for one in versions] == [1]
    assert (callers.failed, set.union(*callers.seen.values())) == ([], {1})
    assert quick.cli("rollback", "target").returncode == 4, "nothing but version 1 was live"


def test_canary_and_rollback_under_load_fail_no_call_and_mix_no_versions(shared: Node) -> None:
    """F8, E11: a sticky canary grows and is taken back; each caller sees one version at a time, and none fails."""
    for number in (1, 2):
        shared.deploy("steady", NUMBERED.format(number=number))
    shared.json("rollback", "steady")
    callers = Callers(shared, "/fn/steady", count=4)
    with callers.calling():
        shared.json("alias", "set", "steady", "live", "1=50", "2=50", "--header", "X-User")
        callers.forget()
        eventually(lambda: all(callers.seen.values()), "every caller was answered")
        mixed = {number: set(seen) for number, seen in callers.seen.items()}
        shared.json("alias", "set", "steady", "live", "1=10", "2=90", "--header", "X-User")
        callers.forget()
        eventually(lambda: all(callers.seen.values()), "every caller was answered")
        grown = {number: set(seen) for number, seen in callers.seen.items()}
        shared.deploy("steady", NUMBERED.format(number=3))
        back = shared.json("rollback", "steady", "1")
        assert back["live"]["number"] == 1
        callers.forget()
        eventually(lambda: all(callers.seen.values()), "every caller was answered")
        after = [set(seen) for seen in callers.seen.values()]
    assert callers.failed == []
    in_flight = 1  # an answer that was on its way when the weights changed
    assert all(len(seen) <= 1 + in_flight for seen in mixed.values())
    assert all(2 in grown[number] for number, seen in mixed.items() if seen == {2}), "nobody left the canary"
    assert all(1 in seen for seen in after)
    assert all(shared.get("/fn/steady").json() == 1 for _ in range(20))


def test_a_rollout_to_a_bad_version_is_taken_back_with_its_reason_even_if_control_dies(shared: Node) -> None:
    shared.deploy("rolled", NUMBERED.format(number=1))
    made = shared.json("deploy", str(shared.write("rolled", FAILING)), "--canary", "--steps", "50", "--every", "20s")
    assert (made["version"], made["rollout"]["percent"]) == (2, 50)
    refused = shared.cli("deploy", str(shared.write("rolled", NUMBERED.format(number=9))))
    assert b"a rollout of rolled to version 2 is running" in refused.stderr
    shared.kill("control")
    eventually(shared.ready, "control is back")

    def ended() -> bool:
        shared.get("/fn/rolled")
        return bool(shared.json("rollout", "status", "rolled")["state"] == "rolled_back")

    eventually(ended, "the rollout is taken back")
    found = shared.json("rollout", "status", "rolled")
    assert "calls failed" in found["reason"]
    assert shared.json("show", "rolled")["aliases"] == {"live": {"1": 100}}
    assert "rolled back" in shared.json("versions", "rolled", "--history")["items"][0]["why"]


def test_disabling_lets_running_calls_finish_and_refuses_new_ones(shared: Node) -> None:
    shared.deploy("nap", "import time\ndef handle(event, context):\n    time.sleep(5)\n    return 1\n")
    answers: list[httpx.Response] = []
    running = threading.Thread(target=lambda: answers.append(shared.get("/fn/nap")))
    running.start()
    eventually(lambda: _busy(shared, "nap") > 0, "the call runs")
    shared.json("disable", "nap", "--reason", "closed for today")
    refused = shared.get("/fn/nap")
    running.join()
    assert (refused.status_code, answers[0].status_code) == (409, 200)
    assert "closed for today" in refused.text
    shared.json("enable", "nap")
    assert shared.get("/fn/nap").status_code == 200


def _busy(node: Node, name: str) -> int:
    """Ask the admin API itself: a command takes as long as a call that should still be running."""
    headers = {"Authorization": f"Bearer {node.token}"}
    status = httpx.get(node.admin_url + "/v1/status", headers=headers, timeout=10, trust_env=False).json()
    return sum(one["instances"]["busy"] for one in status["gateway"]["functions"] if one["name"] == name)
