"""Tokens and namespaces over the admin API, and what belongs to whom."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import httpx
import msgspec
import pytest
from access_classes import token_headers
from control_harness import Harness, control, zipped

from wispd.adapters.store import control_schema
from wispd.adapters.store.control import ControlStore
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault
from wispd.model.function import Version
from wispd.model.published import Token, TokenRevoked
from wispd.ports.catalogue import Wanted

SPACE = "/v1/namespaces/default"


def bearer(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def holding(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def status(node: Harness, headers: dict[str, str], path: str = f"{SPACE}/functions") -> int:
    return (await node.client.get(path, headers=headers)).status_code


def test_a_token_lives_until_it_is_revoked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            made = await node.client.post(f"{SPACE}/tokens", json={"role": "deployer", "name": "ci"})
            headers, text = bearer(made), made.json()["token"]
            assert await status(node, headers) == 200
            assert await status(node, headers, "/v1/status") == 403
            (listed,) = (await node.client.get(f"{SPACE}/tokens")).json()["items"]
            assert (listed["id"], listed["name"], listed["role"]) == (made.json()["id"], "ci", "deployer")
            assert "token" not in listed
            published = node.journal()[-1]
            assert isinstance(published, Token)
            assert published.role == "deployer"
            assert holding(tmp_path, text) == []
            assert (await node.client.delete(f"{SPACE}/tokens/{listed['id']}")).status_code == 204
            assert await status(node, headers) == 401
            assert node.journal()[-1] == TokenRevoked(digest=published.digest)
            assert (await node.client.delete(f"{SPACE}/tokens/{listed['id']}")).status_code == 404

    asyncio.run(scenario())


def test_a_token_expires(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            headers = bearer(await node.client.post(f"{SPACE}/tokens", json={"role": "viewer", "expires": "30d"}))
            node.clock.advance(30 * 86_400 - 1)
            assert await status(node, headers) == 200
            node.clock.advance(1)
            assert await status(node, headers) == 401
            for expires in ("0s", "-1d", "soon", "9999d"):
                answer = await node.client.post(f"{SPACE}/tokens", json={"role": "viewer", "expires": expires})
                assert answer.status_code == 400, expires

    asyncio.run(scenario())


def test_the_last_admin_token_stays_and_a_revoked_one_does_not_come_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            (first,) = (await node.client.get("/v1/tokens")).json()["items"]
            assert (first["name"], first["namespace"]) == ("first", None)
            await node.client.post("/v1/tokens", json={"role": "admin", "expires": "1d"})
            await node.client.post("/v1/tokens", json={"role": "viewer"})
            await node.client.post(f"{SPACE}/tokens", json={"role": "admin"})
            refused = await node.client.delete(f"/v1/tokens/{first['id']}")
            assert (refused.status_code, refused.json()["code"]) == (409, "conflict"), "one that expires is no way in"
            second = bearer(await node.client.post("/v1/tokens", json={"role": "admin"}))
            assert (await node.client.delete(f"/v1/tokens/{first['id']}")).status_code == 204
            assert await status(node, {}) == 401
            assert await status(node, second) == 200
        async with control(tmp_path) as node:  # the supervisor's file with its digest is still there
            assert await status(node, {}) == 401
            assert await status(node, second) == 200

    asyncio.run(scenario())


def test_an_admin_of_a_namespace_rules_there_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.client.post("/v1/namespaces", json={"name": "other"})
            admin = token_headers(node, "admin", "default")
            wanted = {"role": "admin"}
            for path, code in (("/v1/tokens", 403), ("/v1/namespaces/other/tokens", 404), (f"{SPACE}/tokens", 201)):
                assert (await node.client.post(path, json=wanted, headers=admin)).status_code == code
            made = (await node.client.get(f"{SPACE}/tokens", headers=admin)).json()["items"]
            assert [one["created_by"] for one in made if one["id"] != "tok_admin"] == ["tok_admin"]
            node_token = (await node.client.get("/v1/tokens")).json()["items"][0]["id"]
            answer = await node.client.delete(f"{SPACE}/tokens/{node_token}", headers=admin)
            assert answer.status_code == 404, "a token of the node is nothing of this namespace"
            seen = (await node.client.get("/v1/namespaces", headers=admin)).json()["items"]
            assert [one["name"] for one in seen] == ["default"]
            assert len((await node.client.get("/v1/namespaces")).json()["items"]) == 2

    asyncio.run(scenario())


def test_namespaces_are_created_listed_and_deleted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            post, delete = node.client.post, node.client.delete
            assert (await node.deploy()).status_code == 201
            for name, code in (("acme", 201), ("ACME", 409), ("Default", 409), ("a/b", 400), ("fn", 400), ("", 400)):
                assert (await post("/v1/namespaces", json={"name": name})).status_code == code, name
            insider = token_headers(node, "deployer", "acme")
            package = await post("/v1/namespaces/acme/packages", content=zipped({"a.py": b""}), headers=insider)
            path = "/v1/namespaces/acme/functions/f"
            deployed = await node.client.put(path, json={"code": package.json()["code"]}, headers=insider)
            assert deployed.status_code == 201
            assert deployed.json()["url"].endswith("//f.acme.localhost:8080")
            assert (await delete("/v1/namespaces/acme")).status_code == 409, "it has a function"
            assert (await delete(path, headers=insider)).status_code == 204
            assert (await delete("/v1/namespaces/acme")).status_code == 204
            assert (await node.client.get(path, headers=insider)).status_code == 401, "its tokens went with it"
            assert (await delete("/v1/namespaces/acme")).status_code == 404
            assert (await delete("/v1/namespaces/default")).status_code == 409
            await post("/v1/namespaces", json={"name": "acme"})
            again = await node.client.put(path, json={"code": package.json()["code"]})
            assert again.status_code == 404, "a new tenant of an old name owns nothing"

    asyncio.run(scenario())


def test_without_isolation_there_is_one_namespace(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            node.gateway.status["level"] = "process"
            refused = await node.client.post("/v1/namespaces", json={"name": "acme"})
            assert (refused.status_code, refused.json()["level"]) == (409, "process")
            node.gateway.status["level"] = "namespaces"
            assert (await node.client.post("/v1/namespaces", json={"name": "acme"})).status_code == 201

    asyncio.run(scenario())


def test_what_another_namespace_uploaded_can_not_be_deployed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.client.post("/v1/namespaces", json={"name": "thief"})
            thief = token_headers(node, "deployer", "thief")
            code = await node.upload()
            layer = (await node.client.post(f"{SPACE}/layers", content=zipped({"m.py": b""}))).json()["layer"]
            own = await node.client.post(
                "/v1/namespaces/thief/packages", content=zipped({"x.py": b""}), headers=thief
            )

            async def deploy(**document: str) -> httpx.Response:
                return await node.client.put("/v1/namespaces/thief/functions/f", json=document, headers=thief)

            stolen, made_up = await deploy(code=code), await deploy(code="0" * 64)
            assert stolen.status_code == made_up.status_code == 404
            assert stolen.text.replace(code, "X") == made_up.text.replace("0" * 64, "X")
            assert (await deploy(code=own.json()["code"], layer=layer)).status_code == 404
            assert (await deploy(code=own.json()["code"], layer=own.json()["code"])).status_code == 404
            assert (await deploy(code=own.json()["code"])).status_code == 201
            assert (await node.deploy(code=code, layer=layer)).status_code == 201, "its owner may"

    asyncio.run(scenario())


def test_values_of_the_environment_are_for_who_may_deploy(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.deploy(env={"KEY": "of the house"})
            for role, shown in (("viewer", "(hidden)"), ("deployer", "of the house")):
                headers = token_headers(node, role, "default")
                one = (await node.client.get(f"{SPACE}/functions/hello", headers=headers)).json()
                (listed,) = (await node.client.get(f"{SPACE}/functions", headers=headers)).json()["items"]
                assert one["live"]["env"] == listed["live"]["env"] == {"KEY": shown}

    asyncio.run(scenario())


def test_cursors_are_good_for_their_list_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            for name in ("a1", "b1"):
                await node.client.post("/v1/namespaces", json={"name": name})
            code = await node.upload()
            for name in ("f", "g"):
                await node.deploy(name, code=code)
            cursor = (await node.client.get(f"{SPACE}/functions?limit=1")).json()["next"]
            spaces = (await node.client.get("/v1/namespaces?limit=1")).json()["next"]
            for path in (f"{SPACE}/tokens", "/v1/namespaces/a1/functions", "/v1/namespaces", f"{SPACE}/invocations"):
                for wrong in (cursor, "x", "!", "\u00e9", "f" * 401, spaces[:-2]):
                    answer = await node.client.get(path, params={"cursor": wrong})
                    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), (path, wrong)
            for query in ("limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "lmit=3"):
                answer = await node.client.get(f"{SPACE}/functions?{query}")
                assert answer.status_code == 400, query
            assert "did you mean limit" in answer.json()["detail"]

    asyncio.run(scenario())


def test_an_older_store_gets_namespaces_owners_and_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(control_schema, "MIGRATIONS", control_schema.MIGRATIONS[:1])
        control_schema.open_store(str(tmp_path / "control.db")).close()
    version = Version(id="ver_1", namespace="old", function="f", number=1, code="c" * 64, layer="d" * 64, handler="")
    connection = apsw.Connection(str(tmp_path / "control.db"))
    connection.execute("INSERT INTO tokens VALUES ('d', 'admin', '', 0, 1, zeroblob(16), 1)")
    connection.execute(
        "INSERT INTO functions VALUES (1, 'old', 'f', 'f', NULL, 1, -1, 1, 1, 1, zeroblob(16), 1);"
        "INSERT INTO versions VALUES ('ver_1', 1, 1, x'00', ?, 1, zeroblob(16), 1)",
        (msgspec.json.encode(version),),
    )
    connection.close()
    store = ControlStore(tmp_path, VirtualClock(), node_id=bytes(16), epoch=2)
    assert [one.name for one in store.namespaces.page(after="", limit=9)] == ["default", "old"]
    assert store.uploads.has("old", "code", "c" * 64)
    assert store.uploads.has("old", "layer", "d" * 64)
    assert not store.uploads.has("default", "code", "c" * 64)
    (token,) = store.credentials.all()
    assert token.id.startswith("tok_")
    store.put(Wanted(version=msgspec.structs.replace(version, id="ver_2"), fingerprint=b"1"))
    with pytest.raises(Fault, match="has functions"):
        store.namespaces.remove("old")
    store.rollback()
    store.close()


def test_a_node_of_several_tenants_does_not_start_without_isolation(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.client.post("/v1/namespaces", json={"name": "acme"})
            node.gateway.status["level"] = "namespaces"
            await node.node.check_isolation()
            node.gateway.status["level"] = "process"
            with pytest.raises(Fault, match=r"'acme' and 'default'.*level process"):
                await node.node.check_isolation()
            assert (await node.client.delete("/v1/namespaces/acme")).status_code == 204
            await node.node.check_isolation()

    asyncio.run(scenario())
