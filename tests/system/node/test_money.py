"""Budgets, quotas and bills of a real node, whose processes are killed."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodes import Node, eventually

pytestmark = pytest.mark.once

BUSY = """
import time

def handle(event, context):
    end = time.monotonic() + 0.02
    while time.monotonic() < end:
        pass
    return "done"
"""
# A call costs a thousand micro-units and nothing else does, so that costs can be counted.
PRICES = "[prices]\nmillion_calls = 1000\ngb_second = 0\nwarm_gb_second = 1\negress_gb = 0\n"


@pytest.fixture
def priced(offline: Node) -> Node:
    offline.path.mkdir(mode=0o700)
    (offline.path / "wisp-node.toml").write_text(PRICES)
    offline.up()
    return offline


def budget(node: Node, name: str) -> Any:
    return next(one for one in node.json("budget", "list")["items"] if one["function"] == name)


def test_a_budget_stops_many_callers_at_once_before_it_is_passed(priced: Node) -> None:
    priced.deploy("busy", BUSY)
    priced.deploy("free", BUSY)
    priced.json("budget", "set", "busy", "0.0405", "--at", "50%")
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda _: priced.get("/fn/busy"), range(120)))
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 429}
    assert codes.count(200) <= 41, "forty calls fit, and the last one may begin"
    while (last := priced.get("/fn/busy")).status_code == 200:  # what was reserved is used up
        codes.append(200)
    assert codes.count(200) == 41
    assert last.json()["code"] == "budget_exceeded"
    assert last.json()["resets"].endswith("T00:00:00Z")
    assert int(last.headers["retry-after"]) >= 1
    assert priced.get("/fn/free").status_code == 200
    assert (budget(priced, "busy")["state"], budget(priced, "busy")["spent_micro"]) == ("stopped", 41_000)
    assert "has used 50 %" in (priced.path / "logs" / "gateway.log").read_text()
    assert priced.json("usage")["total"]["cost_micro"] == 42_000
    assert b"stopped" in priced.cli("usage").stdout


def test_a_spent_budget_stays_spent_when_processes_are_killed(priced: Node) -> None:
    priced.deploy("busy", BUSY)
    for _ in range(3):
        assert priced.get("/fn/busy").status_code == 200
    priced.json("budget", "set", "busy", "0.005")  # set late: what ran before counts
    assert [priced.get("/fn/busy").status_code for _ in range(3)] == [200, 200, 429]
    recorder = priced.pid("recorder")
    os.kill(recorder, signal.SIGSTOP)  # what is not indexed must be found in the segments
    try:
        priced.json("budget", "set", "busy", "0.007")
        assert priced.get("/fn/busy").status_code == 200
        os.kill(priced.pid("control"), signal.SIGSTOP)  # and control must not be needed
        priced.kill("gateway")
        eventually(lambda: _answers(priced), "the gateway did not come back")
        # One more fits. A start that waits for the store would answer `unavailable` first.
        codes = [priced.get("/fn/busy").status_code for _ in range(3)]
        assert codes.count(200) == 1
        assert codes[-1] == 429
    finally:
        os.kill(priced.pid("control"), signal.SIGCONT)
        os.kill(recorder, signal.SIGCONT)
    priced.kill("control")
    eventually(priced.ready, "control did not come back")
    assert priced.get("/fn/busy").status_code == 429
    assert (budget(priced, "busy")["spent_micro"], priced.json("usage")["total"]["calls"]) == (7000, 7)
    priced.json("budget", "delete", "busy")
    assert priced.get("/fn/busy").status_code == 200


def test_kept_instances_are_billed_at_their_own_rate(priced: Node) -> None:
    source = Path(priced.write("kept", BUSY))
    (source.parent / "kept").mkdir()
    (source.parent / "kept" / "main.py").write_text(BUSY)
    (source.parent / "kept" / "wisp.toml").write_text(
        '[functions.kept]\nhandler = "main:handle"\nmemory = "256MB"\ninstances = { min = 1, idle = "1s" }\n'
    )
    priced.json("deploy", str(source.parent / "kept"))
    priced.deploy("idle", BUSY)
    assert priced.get("/fn/idle").status_code == 200

    def warm() -> Any:
        return {one["function"]: one for one in priced.json("usage")["items"]}

    eventually(lambda: warm().get("kept", {}).get("warm_gb_s", 0) > 0.25, "no warm time was counted")
    bill = warm()
    assert bill["kept"]["cost_micro"] > 0
    assert (bill["kept"]["calls"], bill["idle"]["warm_gb_s"]) == (0, 0)
    priced.json("budget", "set", "kept", "0", "--period", "day")
    eventually(lambda: _instances(priced, "kept") == 0, "an instance is kept though its budget is spent")
    assert priced.get("/fn/kept").status_code == 429


def test_quotas_refuse_and_the_administrator_can_undo_them(priced: Node) -> None:
    priced.deploy("busy", BUSY)
    admin = {"Authorization": f"Bearer {priced.token}"}
    wanted = {"name": "caller", "role": "invoker"}
    made = httpx.post(
        f"{priced.admin_url}/v1/namespaces/default/tokens", json=wanted, headers=admin, trust_env=False, timeout=30
    )
    assert made.status_code == 201, made.text
    token = made.json()["token"]
    mine = {"Authorization": f"Bearer {token}"}
    priced.json("quota", "set", "--functions", "1", "--code", "1KB", "--requests-per-second", "2")
    refused = priced.cli("deploy", str(priced.write("second", BUSY)))
    assert refused.returncode == 4
    assert b"quota is 1" in refused.stderr
    priced.json("quota", "set", "--functions", "default")
    large = priced.cli("deploy", str(priced.write("large", BUSY + "#" * 2000)))
    assert large.returncode == 4
    assert b"its quota is 1024" in large.stderr
    codes = [priced.get("/fn/busy", headers=mine).status_code for _ in range(6)]
    assert 429 in codes
    assert codes[:2] == [200, 200]
    path = f"{priced.admin_url}/v1/namespaces/default/functions/busy/invoke"
    answers = [httpx.post(path, headers=mine, trust_env=False, timeout=30) for _ in range(6)]
    assert [one.json()["code"] for one in answers if one.status_code == 429][:1] == ["quota_exceeded"]
    priced.json("quota", "set", "--requests-per-second", "default", "--concurrency", "0", "--calls-per-minute", "0")
    assert priced.get("/fn/busy").status_code == 429
    assert priced.json("quota", "show")["concurrency"] == 0
    priced.json("quota", "set", "--concurrency", "default", "--calls-per-minute", "2")
    codes = [priced.get("/fn/busy").status_code for _ in range(6)]
    assert 2 <= codes.count(200) <= 4, "two a minute, and a minute may have begun in between"


def test_stats_why_and_top_tell_of_a_real_function(priced: Node) -> None:
    priced.deploy("often", "def handle(event, context):\n    return 1 / int(event.http.query['by'])\n")
    codes = [priced.get(f"/fn/often?by={call % 5}").status_code for call in range(20)]
    assert codes.count(502) == 4
    stats = priced.json("stats", "often", "--since", "5m", "--step", "1m")
    total = stats["total"]
    assert (total["calls"], total["errors"], total["cold"], total["error_rate"]) == (20, 4, 1, 0.2)
    assert sum(point["cost_micro"] for point in stats["items"]) == total["cost_micro"] == 20_000
    assert 0 < total["run_p50_ms"] <= total["run_p99_ms"]
    (reason,) = priced.json("why", "often")["reasons"]
    assert reason["text"].startswith("4 × function_error of 20 calls: ZeroDivisionError")
    (row,) = priced.json("top", "--every", "0.2")["functions"]
    assert (row["name"], row["calls_per_s"]) == ("often", 0.0)
    assert b"calls/s" in priced.cli("top", "--once", "--every", "0.2").stdout
    for command in ("stats", "why"):
        missing = priced.cli(command, "oftn")
        assert (missing.returncode, b"did you mean often" in missing.stderr) == (3, True)


def _answers(node: Node) -> bool:
    try:
        return node.get("/fn/nothing").status_code == 404
    except httpx.TransportError:
        return False


def _instances(node: Node, name: str) -> int:
    (function,) = [one for one in node.json("status")["functions"] if one["name"] == name]
    return sum(function["instances"].values())
