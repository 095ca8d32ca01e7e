"""Deploying over the admin API: what is answered, stored, published and told, in that order."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from control_harness import TOKEN, control
from fake_gateway import problem

from wispd.model.function import Published
from wispd.model.published import Token, Withdrawn


def test_a_deployment_is_tried_stored_published_and_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            answer = await node.deploy(timeout="5s", memory="256MB", env={"A": "b"})
            assert answer.status_code == 201, answer.text
            shown = answer.json()
            assert shown["url"] == "http://127.0.0.1:8080/fn/hello"
            assert shown["live"]["number"] == 1
            assert (shown["live"]["dialect"], shown["trial"]["init_ms"]) == ("native", 1.5)
            token, function = node.journal()
            assert isinstance(token, Token)
            assert isinstance(function, Published)
            assert function.live.env == {"A": "b"}
            length = (tmp_path / "published" / "journal.jsonl").stat().st_size
            assert json.loads(node.gateway.asked("/_wisp/published")[-1][3]) == {"offset": length}

    asyncio.run(scenario())


def test_what_an_app_declares_is_kept_with_its_version(tmp_path: Path) -> None:
    entry = {"kind": "on", "name": "charge", "type": "order.created", "options": {"retries": 5}}

    async def scenario() -> None:
        async with control(tmp_path) as node:
            told = {"dialect": "app", "init_ms": 1, "entries": [entry]}
            node.gateway.trial = (200, {}, json.dumps(told).encode())
            assert (await node.deploy()).json()["live"]["entries"] == [entry]
            _, function = node.journal()
            assert isinstance(function, Published)
            assert [(one.name, one.options) for one in function.live.entries] == [("charge", {"retries": 5})]

    asyncio.run(scenario())


def test_equal_content_is_the_same_version_and_other_content_the_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            first = (await node.deploy()).json()["live"]
            again = await node.deploy()
            assert again.status_code == 200
            assert again.json()["live"] == first
            assert len(node.gateway.asked("/_wisp/trial")) == 1
            assert (await node.deploy(timeout=7)).json()["live"]["number"] == 2
            back = await node.deploy()
            assert back.json()["live"]["id"] == first["id"], "going back is the version it was"

    asyncio.run(scenario())


def test_a_failed_trial_leaves_the_live_version(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy()
            node.gateway.trial = problem(502, "init_failed", "module 'main' has no 'handle'")
            answer = await node.deploy(handler="main:gone")
            assert answer.status_code == 422
            assert answer.headers["content-type"] == "application/problem+json"
            told = answer.json()
            assert (told["code"], told["status"], told["found"]) == ("init_failed", 422, "handler")
            assert told["detail"] == "module 'main' has no 'handle'"
            live = (await node.client.get("/v1/namespaces/default/functions/hello")).json()["live"]
            assert (live["number"], live["handler"]) == (1, "")
            assert len(node.journal()) == 2

    asyncio.run(scenario())


def test_without_a_gateway_nothing_changes_unless_the_trial_is_waived(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.gateway.close()
            answer = await node.deploy()
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert (await node.client.get("/v1/namespaces/default/functions")).json()["items"] == []
            assert (await node.deploy(trial=False)).status_code == 201
            assert len(node.journal()) == 2, "the gateway reads the journal when it is back"

    asyncio.run(scenario())


def test_asgi_carries_64_requests_unless_told_otherwise(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            node.gateway.trial = (200, {}, json.dumps({"dialect": "asgi", "init_ms": 2}).encode())
            assert (await node.deploy("a")).json()["live"]["concurrency"] == 64
            assert (await node.deploy("b", concurrency=3)).json()["live"]["concurrency"] == 3

    asyncio.run(scenario())


def test_deleting_withdraws_and_the_name_goes_on_counting(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy("Hello")
            assert (await node.deploy("hello")).status_code == 409, "names are unique ignoring case"
            assert (await node.client.delete("/v1/namespaces/default/functions/hello")).status_code == 404
            assert (await node.client.delete("/v1/namespaces/default/functions/Hello")).status_code == 204
            assert node.journal()[-1] == Withdrawn(namespace="default", name="Hello")
            assert (await node.deploy("hello")).json()["live"]["number"] == 2

    asyncio.run(scenario())


def test_functions_are_listed_in_pages(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            code = await node.upload()
            answers = [node.deploy(name, code=code, trial=False) for name in ("c", "A", "b", "d", "e")]
            assert {answer.status_code for answer in await asyncio.gather(*answers)} == {201}
            seen, cursor = [], ""
            while cursor is not None:
                query = {"limit": 2, "cursor": cursor}
                page = (await node.client.get("/v1/namespaces/default/functions", params=query)).json()
                seen += [item["name"] for item in page["items"]]
                cursor = page["next"]
            assert seen == ["A", "b", "c", "d", "e"]

    asyncio.run(scenario())


def test_a_route_belongs_to_one_function(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            assert (await node.deploy("a", routes=[["", "GET", "/shop"]])).status_code == 201
            answer = await node.deploy("b", routes=[["", "GET", "/shop"]])
            assert answer.status_code == 409
            assert "'a'" in answer.json()["detail"]
            assert (await node.client.get("/v1/namespaces/default/functions/b")).status_code == 404, "nothing is left"
            await node.deploy("a")
            assert (await node.deploy("b", routes=[["", "GET", "/shop"]])).status_code == 201

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"code": "00"}, "code"),
        ({"code": "../../etc"}, "code"),
        ({"memroy": "1GB"}, "memory"),
        ({"instances": {"mni": 1}}, "instances.min"),
        ({"memory": "12 parsecs"}, "memory"),
        ({"memory": "64GB"}, "memory"),
        ({"timeout": "-1"}, "timeout"),
        ({"timeout": "2h"}, "timeout"),
        ({"concurrency": 0}, "concurrency"),
        ({"instances": {"min": 5, "max": 2}}, "max"),
        ({"env": {"A B": "c"}}, "env"),
        ({"env": {"A": "x" * 40_000}}, "env"),
        ({"network": {"mode": "host"}}, "mode"),
        ({"network": {"allow": ["db.internal:5432"]}}, "allow"),
        ({"privileged": True}, "privileged"),
        ({"routes": [["", "GET", "/_wisp/status"]]}, "routes"),
        ({"routes": [["", "GET", "/async"]]}, "routes"),
        ({"routes": [["", "GET", "/a/../fn/x"]]}, "routes"),
        ({"access": "everybody"}, "access"),
        ({"async": "yes"}, "async"),
        ({"runtime": "node22"}, "runtime"),
        ({"handler": "a;b"}, "handler"),
    ],
)
def test_a_wrong_document_is_refused_by_name(tmp_path: Path, document: dict[str, Any], word: str) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            answer = await node.deploy(**document)
            assert answer.status_code == 400, answer.text
            assert word in answer.json()["detail"]
            assert not node.gateway.asked("/_wisp/trial")

    asyncio.run(scenario())


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy("one")
            await node.deploy("two", timeout=1)
            await node.client.delete("/v1/namespaces/default/functions/one")
        async with control(tmp_path) as node:
            items = (await node.client.get("/v1/namespaces/default/functions")).json()["items"]
            assert [item["name"] for item in items] == ["two"]
            token, function = node.journal()
            assert isinstance(token, Token)
            assert isinstance(function, Published)
            assert function.name == "two"
            assert TOKEN not in (tmp_path / "published" / "journal.jsonl").read_text()

    asyncio.run(scenario())
