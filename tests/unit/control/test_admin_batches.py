"""Many functions in one request: a line for each, in their order, and one trial for each content."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from control_harness import Harness, control
from fake_gateway import problem

BATCH = "/v1/namespaces/default/functions:batch"


async def send(node: Harness, lines: list[Any]) -> list[dict[str, Any]]:
    body = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    answer = await node.client.post(BATCH, content=body, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.content.splitlines()]


def test_lines_are_answered_in_order_and_a_wrong_one_stops_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            code = await node.upload()
            names = [f"f{number}" for number in range(600)]
            found = await send(node, [{"name": name, "code": code} for name in names])
            assert [one["name"] for one in found] == names
            assert all((one["number"], one["fresh"]) == (1, True) for one in found)
            assert len(node.gateway.asked("/_wisp/trial")) == 1, "one content, one trial"
            assert len(node.journal()) == 601
            again = [
                {"name": "f0", "code": code},
                b"{nonsense",
                {"code": code},
                {"name": "a b", "code": code},
                {"name": "g", "code": "00" * 32},
                {"name": "F1", "code": code},
                {"name": "f2", "code": code, "timeout": 9},
            ]
            found = await send(node, again)
            assert (found[0]["number"], found[0]["fresh"]) == (1, False)
            assert [one.get("error", {}).get("code") for one in found[1:6]] == [
                *["invalid_argument"] * 3,
                "not_found",
                "conflict",
            ]
            assert (found[6]["number"], found[6]["fresh"]) == (2, True)

    asyncio.run(scenario())


def test_content_that_does_not_start_fails_each_of_its_lines(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            code = await node.upload()
            node.gateway.trial = problem(502, "init_failed", "no handle in main")
            found = await send(node, [{"name": f"f{number}", "code": code} for number in range(5)])
            assert {one["error"]["code"] for one in found} == {"init_failed"}
            assert len(node.gateway.asked("/_wisp/trial")) == 1
            assert (await node.client.get("/v1/namespaces/default/functions")).json()["items"] == []
            found = await send(node, [{"name": "f", "code": code, "trial": False}])
            assert found[0]["number"] == 1

    asyncio.run(scenario())


def test_an_endless_line_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            body = b"x" * 1_100_000
            answer = await node.client.post(BATCH, content=body, headers={"Content-Type": "application/x-ndjson"})
            assert answer.status_code == 413

    asyncio.run(scenario())
