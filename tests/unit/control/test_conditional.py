"""`ETag`, `If-Match` and `If-None-Match` of functions: nobody undoes what he has not seen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from control_harness import Harness, control

from wispd.control.preconditions import etag_of
from wispd.model.published import Withdrawn

HELLO = "/v1/namespaces/default/functions/hello"


async def etag(node: Harness) -> str:
    answer = await node.client.get(HELLO)
    return str(answer.headers["etag"])


async def put(node: Harness, code: str, *, headers: dict[str, str], **document: Any) -> httpx.Response:
    return await node.client.put(HELLO, json={"code": code, **document}, headers=headers)


def test_a_change_is_made_only_to_what_was_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            code = await node.upload()
            for nothing in ({"If-Match": '"abc"'}, {"If-Match": "*"}):
                assert (await put(node, code, headers=nothing)).status_code == 412
            assert (await node.client.get(HELLO)).status_code == 404
            made = await put(node, code, headers={"If-None-Match": "*"})
            assert made.status_code == 201
            first = made.headers["etag"]
            assert first == await etag(node)
            assert (await put(node, code, headers={"If-None-Match": "*"}, timeout=2)).status_code == 412
            changed = await put(node, code, headers={"If-Match": first}, timeout=2)
            assert changed.status_code == 201
            tried = len(node.gateway.asked("/_wisp/trial"))
            journal = node.journal()
            late = await put(node, code, headers={"If-Match": first}, timeout=3)
            assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
            assert f'"{late.json()["etag"]}"' == changed.headers["etag"] == await etag(node)
            assert len(node.gateway.asked("/_wisp/trial")) == tried, "it was refused before anything was started"
            gone = await node.client.delete(HELLO, headers={"If-Match": first})
            assert gone.status_code == 412
            assert node.journal() == journal
            assert (await node.client.delete(HELLO, headers={"If-Match": await etag(node)})).status_code == 204
            assert isinstance(node.journal()[-1], Withdrawn)

    asyncio.run(scenario())


def test_every_change_that_shows_has_another_etag(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            code = await node.upload()
            await put(node, code, headers={})
            seen = [await etag(node)]
            document = {"code": code, "timeout": 2}
            for method, path, body in (
                ("PUT", "", document),
                ("PUT", "", document | {"concurrency_reserved": 3}),
                ("PUT", "", document | {"concurrency_reserved": 3, "versions_kept": 7}),
                ("PUT", "/aliases/beta", {"versions": {"1": 100}}),
                ("PUT", "/aliases/beta", {"versions": {"1": 50, "2": 50}}),
                ("PUT", "/aliases/live", {"versions": {"1": 50, "2": 50}}),
                ("PUT", "/enabled", {"enabled": False, "reason": "x"}),
                ("PUT", "/enabled", {"enabled": False, "reason": "y"}),
            ):
                answer = await node.client.request(method, HELLO + path, json=body)
                assert answer.is_success, answer.text
                seen.append(await etag(node))
            assert len(set(seen)) == len(seen)
            assert await etag(node) == seen[-1], "looking changes nothing"
            await node.client.delete(HELLO)
            await put(node, code, headers={})
            assert await etag(node) not in seen, "a new function of the same name is another one"

    asyncio.run(scenario())


RACES = [(first, second) for first in ("PUT", "DELETE") for second in ("PUT", "DELETE")]


async def race(node: Harness, verbs: tuple[str, str], headers: dict[str, str]) -> list[int]:
    """Send two changes that wait for each other behind their first look at the state; return their statuses."""
    code = await node.upload()
    writer = node.node.writer
    both, come = asyncio.Event(), []
    apply = writer.apply

    async def together(change: Any) -> Any:
        come.append(change)
        if len(come) == 2:
            both.set()
        await both.wait()
        return await apply(change)

    writer.apply = together  # type: ignore[method-assign]
    requests = [
        node.client.request(
            verb, HELLO, headers=headers, **({"json": {"code": code, "timeout": n}} if verb == "PUT" else {})
        )
        for n, verb in enumerate(verbs, 2)
    ]
    answers = await asyncio.gather(*requests)
    writer.apply = apply  # type: ignore[method-assign]
    return [answer.status_code for answer in answers]


@pytest.mark.parametrize("verbs", RACES)
def test_of_two_who_read_the_same_state_one_wins(tmp_path: Path, verbs: tuple[str, str]) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy()
            statuses = await race(node, verbs, {"If-Match": await etag(node)})
            assert sorted(statuses)[1] == 412
            assert sorted(statuses)[0] in (201, 204)
            if verbs == ("PUT", "PUT"):
                kept = (await node.client.get(f"{HELLO}/versions")).json()["items"]
                assert len(kept) == 2, "what the loser brought is not kept"

    asyncio.run(scenario())


@pytest.mark.parametrize("verbs", RACES)
def test_without_a_condition_both_win(tmp_path: Path, verbs: tuple[str, str]) -> None:
    """The negative control of the race: it is one."""

    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy()
            assert {200, 201, 204} >= set(await race(node, verbs, {}))

    asyncio.run(scenario())


def test_two_who_make_it_one_wins(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            statuses = await race(node, ("PUT", "PUT"), {"If-None-Match": "*"})
            assert sorted(statuses) == [201, 412]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": ""},
        {"If-Match": "abc"},
        {"If-Match": 'W/"abc"'},
        {"If-Match": '"a", "b"'},
        {"If-Match": f'"{"a" * 65}"'},
        {"If-None-Match": '"abc"'},
        {"If-Match": "*", "If-None-Match": "*"},
    ],
)
def test_what_is_no_condition_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy()
            before = await etag(node)
            assert (await put(node, "a" * 64, headers=headers)).status_code == 400
            assert (await node.client.delete(HELLO, headers=headers)).status_code == 400
            alias = await node.client.put(f"{HELLO}/aliases/live", json={"versions": {"1": 1}}, headers=headers)
            assert alias.status_code == 400
            assert await etag(node) == before

    asyncio.run(scenario())


def test_an_etag_tells_nothing_of_the_environment(tmp_path: Path) -> None:
    """Who may not see values could try guesses against a digest of them."""

    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy(env={"PIN": "1234"})
            found = node.node._reading.find("default", "hello")
            assert found is not None
            live = msgspec.structs.replace(found.published.live, env={"PIN": "9999"})
            other = msgspec.structs.replace(found, published=msgspec.structs.replace(found.published, live=live))
            assert etag_of(other) == etag_of(found)

    asyncio.run(scenario())
