"""The gate of the admin API, the proxy to the gateway, and what the node says about itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from control_harness import DIGEST, TOKEN, control, zipped

from wispd.api.admin_gate import check_host, is_loopback, presented
from wispd.app.settings import Limits
from wispd.base.errors import Fault

PLAIN = ("", ".", "..", "../../x", "a/b", "a\0b", "-rf", "x" * 65, "%2e%2e", "a b", "a.b", "a\n", "\u0661")
TWINS = ("caf\u00e9", "cafe\u0301")  # NFC and NFD
NAMES = (*PLAIN, *TWINS, "fn", "async", "EVENTS", "_wisp")

FUNCTIONS = "/v1/namespaces/default/functions"


def test_every_route_needs_the_token_but_health(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            for path in (
                "/v1/status",
                "/metrics",
                FUNCTIONS,
                "/v1/invocations/inv_1",
                "/nothing",
                "/docs",
                "/openapi.json",
            ):
                for header in (
                    "",
                    "Bearer",
                    "Bearer wrong",
                    f"Basic {TOKEN}",
                    f"Bearer {DIGEST}",
                    f"Bearer {TOKEN}x",
                ):
                    answer = await node.client.get(path, headers={"Authorization": header})
                    assert answer.status_code == 401, (path, header)
                    assert answer.headers["www-authenticate"].startswith("Bearer")
            assert (await node.client.get("/v1/status")).status_code == 200, "the right one opens it"
            assert (await node.client.get("/healthz", headers={"Authorization": ""})).status_code == 200

    asyncio.run(scenario())


def test_only_one_bearer_token_counts() -> None:
    header = f"Bearer {TOKEN}".encode()
    assert presented([header]) == presented([b"bearer  " + TOKEN.encode()]) == DIGEST
    for headers in ([], [header, header], [b"Basic " + TOKEN.encode()], [b"Bearer"], [b"Bearer " + b"x" * 513]):
        assert presented(headers) == ""


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8081", "127.0.0.1:1", "[::1]:8081", "[::1]", "a.localhost:9"]
)
def test_local_hosts_are_let_in(host: str) -> None:
    check_host([host.encode()])


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil", "localhost:x", "", "10.0.0.1"],
)
def test_foreign_hosts_are_refused(host: str) -> None:
    with pytest.raises(Fault) as caught:
        check_host([host.encode()])
    assert caught.value.http_status == 421


def test_a_rebound_name_reaches_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            answer = await node.client.get("/v1/status", headers={"Host": "evil.example"})
            assert (answer.status_code, answer.json()["code"]) == (421, "misdirected_request")

    asyncio.run(scenario())
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_functions(tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            before = sorted(path.name for path in tmp_path.parent.iterdir())
            code = await node.upload()
            quoted = "".join(f"%{byte:02x}" for byte in name.encode())
            answer = await node.client.put(f"{FUNCTIONS}/{quoted}", json={"code": code})
            assert answer.status_code in (400, 404, 405), "no route, or a bad name"
            answer = await node.client.put(f"/v1/namespaces/{quoted}/functions/a", json={"code": code})
            assert answer.status_code in (400, 404, 405)
            assert sorted(path.name for path in tmp_path.parent.iterdir()) == before
            assert (await node.client.get(FUNCTIONS)).json()["items"] == []

    asyncio.run(scenario())


def test_a_call_goes_through_as_it_came(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async def scenario() -> None:
        async with control(tmp_path) as node:
            answer = await node.client.post(
                f"{FUNCTIONS}/hello/invoke/a%2Fb//c?q=%20x&y",
                content=pieces(),
                headers={"X-Mine": "yes", "Connection": "x-hop", "X-Hop": "1"},
            )
            assert answer.status_code == 207
            assert answer.headers["wisp-invocation-id"] == "inv_1"
            assert (answer.headers["x-of"], answer.headers["set-cookie"]) == ("function", "a=b")
            seen = answer.json()
            assert (seen["method"], seen["body"]) == ("POST", "one two")
            assert seen["target"] == "/_wisp/invoke/default/hello/a%2Fb//c?q=%20x&y"
            assert seen["headers"]["x-mine"] == "yes"
            assert not {"authorization", "x-hop"} & set(seen["headers"]), "no function sees the token of this API"
            seen = (await node.client.get(f"{FUNCTIONS}/hello/invoke")).json()
            assert seen["target"] == "/_wisp/invoke/default/hello"
            await node.gateway.close()
            assert (await node.client.get(f"{FUNCTIONS}/hello/invoke")).json()["code"] == "unavailable"

    asyncio.run(scenario())


def test_uploads_are_bounded_and_idempotent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path, Limits(package_zip_bytes=2_000)) as node:
            url = "/v1/namespaces/default/packages"
            assert (await node.client.post(url, content=b"x" * 2_001)).status_code == 413
            answer = await node.client.post(url, content=b"no zip")
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
            first = await node.client.post(url, content=zipped({"a.py": b"1", "b/c.py": b"22"}))
            again = await node.client.post(url, content=zipped({"b/c.py": b"22", "a.py": b"1", ".git/x": b"3"}))
            assert first.json() == again.json() == {"code": first.json()["code"], "files": 2, "bytes": 3}
            layer = await node.client.post("/v1/namespaces/default/layers", content=zipped({"m.py": b"1"}))
            assert (tmp_path / "layers" / layer.json()["layer"] / "m.py").read_bytes() == b"1"
            assert list((tmp_path / "incoming").iterdir()) == []

    asyncio.run(scenario())


def test_ready_only_with_gateway_launcher_and_recorder(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            answer = await node.client.get("/readyz", headers={"Authorization": ""})
            assert (answer.status_code, answer.json()["reasons"]) == (503, ["the recorder does not answer"])
            node.gateway.status["launcher"] = False
            assert len((await node.client.get("/readyz")).json()["reasons"]) == 2
            status = (await node.client.get("/v1/status")).json()
            assert status["gateway"]["reachable"]
            assert status["recorder"]["state"] == "unreachable"
            await node.gateway.close()
            assert not (await node.client.get("/v1/status")).json()["gateway"]["reachable"]

    asyncio.run(scenario())


def test_metrics_with_and_without_a_gateway(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            text = (await node.client.get("/metrics")).text
            assert "wisp_of_the_gateway 1" in text
            assert "wisp_functions 0" in text
            await node.gateway.close()
            assert "wisp_gateway_up 0" in (await node.client.get("/metrics")).text

    asyncio.run(scenario())


def test_questions_about_records_before_there_are_any(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            space = "/v1/namespaces/default"
            assert (await node.client.get(f"{space}/invocations")).json() == {"items": [], "next": None}
            bill = (await node.client.get(f"{space}/usage?by=function,minute&since=1h")).json()
            assert (bill["items"], bill["total"]["cost_micro"], bill["next"]) == ([], 0, None)
            assert (await node.client.get(f"{space}/logs?function=hello")).text == ""
            for query in ("limit=0", "limit=x", "since=yesterday", "status=fine", "function=a/b"):
                answer = await node.client.get(f"{space}/invocations?{query}")
                assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), query
            assert (await node.client.get(f"/v1/invocations/inv_{'0' * 32}")).status_code == 404
            assert (await node.client.get("/v1/invocations/nothing")).status_code == 400
            wrong = await node.client.post("/v1/status")
            assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")

    asyncio.run(scenario())
