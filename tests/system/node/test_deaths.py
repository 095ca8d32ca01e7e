"""kill -9 of any process at any moment: what was known is served again, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from nodes import WISP, Node, eventually, gone


@pytest.mark.parametrize("role", ["gateway", "launcher", "control", "recorder"])
def test_a_killed_process_comes_back_and_everything_is_served(node: Node, role: str) -> None:
    assert node.get("/fn/hello").text == "hello"
    up_s = node.json("status")["uptime_s"]
    killed = node.kill(role)
    eventually(lambda: node.served("/fn/hello"), "served again")
    eventually(lambda: node.status()["state"] == "ready" and node.pid(role) not in (0, killed), "started again")
    eventually(node.ready, "ready again")
    assert node.json("status")["uptime_s"] > up_s  # of the node, whichever process tells it
    assert node.get("/fn/hello").text == "hello"
    assert node.json("invoke", "hello")["body"] == "hello"


def test_killed_again_and_again(node: Node) -> None:
    for role in ("gateway", "launcher", "gateway", "launcher", "control"):
        node.kill(role)
        eventually(lambda: node.served("/fn/hello"), f"served after another {role}")
        eventually(lambda role=role: node.pid(role) != 0 and node.ready(), f"{role} is back")  # type: ignore[misc]


def test_gateway_and_launcher_killed_together(node: Node) -> None:
    pids = [node.kill("gateway"), node.kill("launcher")]
    eventually(lambda: node.served("/fn/hello"), "served again")
    assert gone(pids)


def test_connections_wait_while_the_gateway_is_replaced(node: Node) -> None:
    """The listening socket lives in the supervisor: nobody is refused, at worst a call in flight breaks off."""
    node.kill("gateway")
    assert node.get("/fn/hello").text == "hello"


def test_when_the_supervisor_dies_all_go(node: Node) -> None:
    node.get("/fn/hello")
    pids = node.pids()
    os.kill(pids[0], signal.SIGKILL)
    eventually(lambda: gone(pids), "all processes are gone")
    told = node.cli("status")
    assert told.returncode == 5
    assert b"was killed" in told.stderr
    assert b"ready" not in told.stdout
    node.up()
    assert node.get("/fn/hello").text == "hello"
    assert {one["name"]: one["restarts"] for one in node.status()["processes"]} == dict.fromkeys(
        ("launcher", "recorder", "gateway", "control"), 0
    )


def test_the_same_ports_are_free_for_the_next_start(node: Node) -> None:
    ports = [url.rpartition(":")[2] for url in (node.url, node.admin_url)]
    os.kill(node.status()["pid"], signal.SIGKILL)
    serving = node.json("up", "--port", ports[0], "--admin-port", ports[1], "--detach")
    assert serving["public_url"] == node.url
    assert node.get("/fn/hello").text == "hello"


def test_warm_and_cold_calls_go_on_while_control_is_away(node: Node) -> None:
    node.deploy("cold", "def handle(event, context):\n    return 'cold'\n")
    node.get("/fn/hello")
    os.kill(node.pid("control"), signal.SIGSTOP)
    assert node.get("/fn/hello").text == "hello"
    assert node.get("/fn/cold").text == "cold"
    killed = node.kill("gateway")
    eventually(lambda: node.pid("gateway") != killed and node.served("/fn/cold"), "a new gateway knows all functions")
    os.kill(node.pid("control"), signal.SIGCONT)
    eventually(node.ready, "control is back")


def test_what_was_acknowledged_survives_the_death_of_the_whole_node(node: Node) -> None:
    for number in range(5):
        node.deploy(f"f{number}", f"def handle(event, context):\n    return '{number}'\n")
    pids = node.pids()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: gone(pids), "all processes are gone")
    node.up()
    assert [node.get(f"/fn/f{number}").text for number in range(5)] == ["0", "1", "2", "3", "4"]
    assert len(node.json("list")["items"]) == 6


def test_deploying_while_the_gateway_is_away_is_caught_up(node: Node) -> None:
    os.kill(node.pid("gateway"), signal.SIGSTOP)
    path = node.write("late", "def handle(event, context):\n    return 'late'\n")
    command = [*WISP, "deploy", str(path), "--data", str(node.path), "--no-trial", "--json"]
    late = subprocess.Popen(command, stdout=subprocess.PIPE)
    node.kill("gateway")
    output, _ = late.communicate(timeout=60)
    assert late.returncode == 0
    assert json.loads(output)["live"]["number"] == 1
    eventually(lambda: node.served("/fn/late"), "the new gateway serves it")
