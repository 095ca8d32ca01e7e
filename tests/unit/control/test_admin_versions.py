"""Versions, aliases, rollback and disabling over the admin API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from control_harness import Harness, control
from fake_gateway import problem

from wispd.model.alias import Pointer, Share, Sticky
from wispd.model.function import Published

HELLO = "/v1/namespaces/default/functions/hello"


async def three(node: Harness) -> None:
    """Deploy versions 1, 2 and 3 of `hello`."""
    for timeout in (1, 2, 3):
        assert (await node.deploy(timeout=timeout)).status_code == 201


def last(node: Harness) -> Published:
    found = node.journal()[-1]
    assert isinstance(found, Published)
    return found


async def put_alias(node: Harness, alias: str, document: Any, **headers: str) -> Any:
    return await node.client.put(f"{HELLO}/aliases/{alias}", json=document, headers=headers)


def test_an_alias_is_deployed_to_without_moving_live(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy()
            code = await node.upload()
            answer = await node.client.put(f"{HELLO}?alias=beta", json={"code": code, "timeout": 9})
            assert answer.status_code == 201, answer.text
            assert (answer.json()["version"], answer.json()["live"]["number"]) == (2, 1)
            assert answer.json()["aliases"] == {"beta": {"2": 100}, "live": {"1": 100}}
            assert last(node).pointers == (Pointer(alias="beta", shares=(Share(2, 100),)),)
            assert [one.number for one in last(node).others] == [2]
            again = await node.client.put(f"{HELLO}?alias=beta", json={"code": code, "timeout": 9})
            assert again.status_code == 200
            assert (await node.client.put(f"{HELLO}?alias=No--No", json={"code": code})).status_code == 400

    asyncio.run(scenario())


def test_a_division_is_stored_published_and_shown_with_its_etag(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await three(node)
            document = {"versions": {"3": 10, "1": 90, "2": 0}, "sticky": {"header": "X-User"}}
            answer = await put_alias(node, "live", document)
            assert answer.status_code == 200, answer.text
            assert answer.headers["etag"] == '"4"'
            pointer = Pointer(alias="live", shares=(Share(1, 90), Share(3, 10)), sticky=Sticky(header="X-User"))
            assert last(node).pointers == (pointer,)
            assert (last(node).live.number, [one.number for one in last(node).others]) == (1, [3])
            assert (await put_alias(node, "live", {"versions": {"3": 1}}, **{"If-Match": '"3"'})).status_code == 412
            assert (await put_alias(node, "live", {"versions": {"3": 1}}, **{"If-Match": '"4"'})).status_code == 200
            assert (
                await put_alias(node, "live", {"versions": {"2": 1}}, **{"If-None-Match": "*"})
            ).status_code == 412
            assert (await put_alias(node, "new", {"versions": {"2": 1}}, **{"If-None-Match": "*"})).status_code == 200
            gone = await node.client.delete(f"{HELLO}/aliases/new", headers={"If-Match": '"1"'})
            assert gone.status_code == 412
            assert (await node.client.delete(f"{HELLO}/aliases/new")).status_code == 204
            assert (await node.client.delete(f"{HELLO}/aliases/new")).status_code == 404
            assert (await node.client.delete(f"{HELLO}/aliases/live")).status_code == 409
            history = (await node.client.get(f"{HELLO}/history")).json()["items"]
            assert [(one["alias"], one["versions"]) for one in history[:3]] == [
                ("new", {}),
                ("new", {"2": 1}),
                ("live", {"3": 1}),
            ]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("alias", "document", "word"),
    [
        ("Beta", {"versions": {"1": 1}}, "alias name"),
        ("a--b", {"versions": {"1": 1}}, "alias name"),
        ("beta", {"versions": {}}, "versions"),
        ("beta", {"versions": {"1": -1}}, "weight"),
        ("beta", {"versions": {"1": True}}, "weight"),
        ("beta", {"versions": {"1": 10**9}}, "weight"),
        ("beta", {"versions": {"1": 0}}, "nothing would answer"),
        ("beta", {"versions": {"x": 1}}, "version number"),
        ("beta", {"versions": {"1": 1, "01": 1}}, "twice"),
        ("beta", {"versions": {str(n): 1 for n in range(1, 10)}}, "versions"),
        ("beta", {"version": {"1": 1}}, "versions"),
        ("beta", {"versions": {"1": 1}, "sticky": {}}, "sticky"),
        ("beta", {"versions": {"1": 1}, "sticky": {"header": "a b"}}, "sticky"),
        ("beta", {"versions": {"1": 1}, "sticky": {"header": "Authorization"}}, "sticky"),
        ("beta", {"versions": {"1": 1}, "sticky": {"header": "x", "issue": True}}, "issue"),
    ],
)
def test_a_wrong_alias_is_refused_by_name(tmp_path: Path, alias: str, document: Any, word: str) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy()
            answer = await put_alias(node, alias, document)
            assert answer.status_code == 400, answer.text
            assert word in answer.json()["detail"]

    asyncio.run(scenario())


def test_rollback_goes_to_what_was_live_before_and_failures_do_not_count(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy(timeout=1)
            assert (await node.client.post(f"{HELLO}/rollback")).status_code == 409, "nothing was live before"
            await node.deploy(timeout=2)
            await put_alias(node, "beta", {"versions": {"1": 1}})
            node.gateway.trial = problem(502, "init_failed", "broken")
            assert (await node.deploy(timeout=3)).status_code == 422
            back = await node.client.post(f"{HELLO}/rollback")
            assert (back.json()["live"]["number"], back.json()["before"]) == (1, 2)
            assert last(node).live.number == 1
            forth = await node.client.post(f"{HELLO}/rollback", json={})
            assert forth.json()["live"]["number"] == 2
            assert (await node.client.post(f"{HELLO}/rollback", json={"version": 1})).json()["live"]["number"] == 1
            assert (await node.client.post(f"{HELLO}/rollback", json={"version": 9})).status_code == 404
            why = (await node.client.get(f"{HELLO}/history")).json()["items"][0]["why"]
            assert why == "rolled back from version 2"

    asyncio.run(scenario())


def test_the_next_version_is_started_before_calls_go_to_it_and_taken_back_if_it_does_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy(timeout=1)
            assert not node.gateway.asked("/_wisp/warm"), "nothing serves yet"
            await node.deploy(timeout=2)
            (warmed,) = node.gateway.asked("/_wisp/warm")
            assert json.loads(warmed[3])["number"] == 2
            node.gateway.warm = problem(502, "init_failed", "it starts once only")
            for _ in range(2):
                answer = await node.deploy(timeout=3)
                assert (answer.status_code, answer.json()["detail"]) == (422, "it starts once only")
            assert last(node).live.number == 2
            listed = (await node.client.get(f"{HELLO}/versions")).json()["items"]
            assert [one["number"] for one in listed] == [2, 1]
            node.gateway.warm = (200, {}, b'{"ready": 1}')
            assert (await node.deploy(timeout=3)).json()["live"]["number"] > 2

    asyncio.run(scenario())


def test_versions_are_listed_and_one_in_use_is_not_deleted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await three(node)
            await put_alias(node, "beta", {"versions": {"2": 1, "3": 3}})
            page = (await node.client.get(f"{HELLO}/versions?limit=2")).json()
            assert [(one["number"], one["aliases"]) for one in page["items"]] == [
                (3, {"beta": 75.0, "live": 100.0}),
                (2, {"beta": 25.0}),
            ]
            rest = (await node.client.get(f"{HELLO}/versions?limit=2&cursor={page['next']}")).json()
            assert ([one["number"] for one in rest["items"]], rest["next"]) == ([1], None)
            refused = await node.client.delete(f"{HELLO}/versions/3")
            assert (refused.status_code, refused.json()["aliases"]) == (409, ["beta", "live"])
            assert (await node.client.delete(f"{HELLO}/versions/1")).status_code == 204
            assert (await node.client.get(f"{HELLO}/versions/1")).status_code == 404
            assert (await node.client.delete(f"{HELLO}/versions/1")).status_code == 404
            assert (await put_alias(node, "gamma", {"versions": {"1": 1}})).status_code == 404
            assert (await node.client.get(f"{HELLO}/versions/x")).status_code == 404

    asyncio.run(scenario())


def test_a_version_of_any_number_is_introduced_and_invoked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await three(node)
            answer = await node.client.post(f"{HELLO}/invoke", headers={"Wisp-Version": "1"}, content=b"x")
            assert answer.status_code == 207
            (introduced,) = node.gateway.asked("/_wisp/version")
            assert json.loads(introduced[3])["number"] == 1
            assert answer.json()["headers"]["wisp-version"] == "1"
            unknown = await node.client.post(f"{HELLO}/invoke", headers={"Wisp-Version": "7"})
            assert unknown.status_code == 404

    asyncio.run(scenario())


def test_disabling_says_why_and_a_deployment_does_not_enable(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy(timeout=1)
            answer = await node.client.put(f"{HELLO}/enabled", json={"enabled": False, "reason": "moved"})
            assert (answer.json()["enabled"], answer.json()["disabled_reason"]) == (False, "moved")
            assert (last(node).enabled, last(node).disabled_reason) == (False, "moved")
            await node.deploy(timeout=2)
            assert (last(node).live.number, last(node).enabled) == (2, False)
            await node.client.put(f"{HELLO}/enabled", json={"enabled": True})
            assert (last(node).enabled, last(node).disabled_reason) == (True, "")
            for wrong in ({}, {"enabled": 1}, {"enabled": False, "reason": "a\nb"}, {"enable": False}):
                assert (await node.client.put(f"{HELLO}/enabled", json=wrong)).status_code == 400

    asyncio.run(scenario())


def test_old_versions_go_as_the_function_says(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            for timeout in range(1, 7):
                await node.deploy(timeout=timeout, versions_kept=2)
                if timeout == 1:
                    await put_alias(node, "first", {"versions": {"1": 1}})
            listed = (await node.client.get(f"{HELLO}/versions")).json()["items"]
            assert [one["number"] for one in listed] == [6, 5, 4, 1]

    asyncio.run(scenario())


def test_of_another_functions_things_nothing_is_found(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy()
            for base in ("/v1/namespaces/other/functions/hello", "/v1/namespaces/default/functions/nobody"):
                for path in ("versions", "versions/1", "aliases", "aliases/live", "history", "rollout"):
                    assert (await node.client.get(f"{base}/{path}")).status_code == 404, path
                assert (await node.client.post(f"{base}/rollback")).status_code == 404
                assert (await node.client.put(f"{base}/enabled", json={"enabled": False})).status_code == 404
                assert (await node.client.delete(f"{base}/versions/1")).status_code == 404
                assert (await node.client.put(f"{base}/aliases/a", json={"versions": {"1": 1}})).status_code == 404

    asyncio.run(scenario())
