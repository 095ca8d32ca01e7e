"""Secrets over the admin API: what goes in, what never comes out, and how the key is changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from control_harness import control

from wispd.app.control import ControlNode
from wispd.app.settings import Settings
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault
from wispd.model.published import SealedSecret, SecretDeleted
from wispd.model.secret import VALUE_BYTES_MAX

PATH = "/v1/namespaces/default/secrets"
CANARY = "canary-that-nobody-may-read"


def test_a_secret_is_set_listed_and_deleted_and_its_value_is_nowhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            texts = []
            first = await node.client.put(f"{PATH}/A", json={"value": CANARY})
            assert first.status_code == 201, first.text
            assert (await node.client.put(f"{PATH}/A", json={"value": CANARY})).json()["version"] == 1
            second = await node.client.put(f"{PATH}/A", json={"value": CANARY + "2"})
            assert (second.status_code, second.json()["version"]) == (200, 2)
            shown = await node.client.get(f"{PATH}/A")
            listed = await node.client.get(PATH)
            assert sorted(shown.json()) == ["created", "name", "namespace", "updated", "version"]
            assert [one["name"] for one in listed.json()["items"]] == ["A"]
            published = [entry for entry in node.journal() if isinstance(entry, SealedSecret)]
            assert [entry.version for entry in published] == [1, 2]
            assert (await node.client.delete(f"{PATH}/A")).status_code == 204
            assert node.journal()[-1] == SecretDeleted(namespace="default", name="A")
            assert (await node.client.get(f"{PATH}/A")).status_code == 404
            texts += [first.text, second.text, shown.text, listed.text]
            assert not any(CANARY in text for text in texts)

    asyncio.run(scenario())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    (tmp_path / "planted").write_text(CANARY)  # the control: the search finds what is there
    assert [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "body",
    [
        b'{"value": "canary-in-a-broken-body',
        b'{"value": "canary-in-a-broken-body", "other": 1}',
        b'{"base64": "canary-in-a-broken-body!"}',
        b'{"value": ["canary-in-a-broken-body"]}',
        b'{"value": "\\ud800canary-in-a-broken-body"}',
        b'{"value": "canary-in-a-broken-body", "base64": "YQ=="}',
        b'"canary-in-a-broken-body"',
        b'{"value": "canary-in-a-broken-body' + b"x" * 300_000,
        b'{"value": "canary-in-a-broken-body' + b"x" * (VALUE_BYTES_MAX + 1) + b'"}',
        b'{"value": ""}',
        b"",
    ],
)
def test_a_wrong_value_is_refused_without_being_quoted(tmp_path: Path, body: bytes) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            answer = await node.client.put(f"{PATH}/A", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 413)
            assert "canary" not in answer.text

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["1A", "a-b", "a.b", "x" * 129, "é", "%00", "A%0aB"])
def test_names_are_those_of_variables(tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            assert (await node.client.put(f"{PATH}/{name}", json={"value": "x" * 10})).status_code == 400

    asyncio.run(scenario())


def test_a_deployment_needs_its_secrets_and_a_used_secret_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            wanted = ["A", {"name": "B", "file": "b.pem"}]
            await node.client.put(f"{PATH}/A", json={"value": CANARY})
            await node.client.put("/v1/namespaces/other/secrets/B", json={"value": CANARY})
            missing = await node.deploy(secrets=wanted)
            assert (missing.status_code, missing.json()["secret"]) == (404, "B")
            assert not node.gateway.asked("/_wisp/trial")
            await node.client.put(f"{PATH}/B", json={"base64": "/wA="})
            deployed = await node.deploy(secrets=wanted)
            assert deployed.status_code == 201, deployed.text
            assert deployed.json()["live"]["secrets"] == [{"name": "A"}, {"name": "B", "file": "b.pem"}]
            number = deployed.json()["live"]["number"]
            await node.client.put(f"{PATH}/A", json={"value": "another value"})
            assert (await node.deploy(secrets=wanted)).json()["live"]["number"] == number
            refused = await node.client.delete(f"{PATH}/B")
            assert (refused.status_code, refused.json()["functions"]) == (409, ["hello"])
            assert (await node.client.delete(f"{PATH}/B", params={"force": "true"})).status_code == 204

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("secrets", "hint"),
    [
        ("A", "list"),
        ([1], "names"),
        ([{"name": "A", "flie": "x"}], "did you mean secrets.file"),
        ([{"name": "A", "file": "../x"}], "plain file name"),
        ([{"name": "A", "file": ".hidden"}], "plain file name"),
        (["A", "A"], "twice"),
        ([{"name": "A", "file": "x"}, {"name": "B", "file": "x"}], "twice"),
        (["a-b"], "variable"),
        (["SIZE"], "which env sets too"),
        (["A"] * 33, "at most 32"),
    ],
)
def test_a_wrong_declaration_is_said(tmp_path: Path, secrets: object, hint: str) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            answer = await node.deploy(secrets=secrets, env={"SIZE": "1"}, code="0" * 64)
            assert answer.status_code == 400
            assert hint in answer.json()["detail"]

    asyncio.run(scenario())


def test_the_key_is_changed_and_the_former_forgotten(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            for number in range(250):
                await node.client.put(f"{PATH}/S{number}", json={"value": f"value of {number}"})
            before = node.node._keys.key_ids
            done = (await node.client.post("/v1/secrets/rotate-key")).json()
            assert (done["rewrapped"], done["kept"]) == (250, 0)
            assert node.node._keys.key_ids == {done["key_id"]} != before
            latest = {entry.name: entry for entry in node.journal() if isinstance(entry, SealedSecret)}
            assert {entry.key_id for entry in latest.values()} == {done["key_id"]}
            assert node.node._keys.open(latest["S7"]) == b"value of 7"
        async with control(tmp_path) as node:
            assert node.node._keys.key_ids == {done["key_id"]}
            assert len([entry for entry in node.journal() if isinstance(entry, SealedSecret)]) == 250

    asyncio.run(scenario())


def test_the_former_key_stays_while_the_gateway_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wispd.control.secrets.GATEWAY_TOLD_S", -1)

    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.client.put(f"{PATH}/A", json={"value": CANARY})
            await node.gateway.close()
            done = (await node.client.post("/v1/secrets/rotate-key")).json()
            assert done["kept"] == 1
            assert len(node.node._keys.key_ids) == 2
        async with control(tmp_path) as node:  # the next start writes the journal anew and needs it no more
            assert node.node._keys.key_ids == {done["key_id"]}

    asyncio.run(scenario())


def test_a_rotation_that_was_killed_is_finished_by_the_next_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.client.put(f"{PATH}/A", json={"value": CANARY})
            current = node.node._keys.begin_rotation()
        async with control(tmp_path) as node:
            assert node.node._keys.key_ids == {current}
            (entry,) = [entry for entry in node.journal() if isinstance(entry, SealedSecret)]
            assert node.node._keys.open(entry) == CANARY.encode()

    asyncio.run(scenario())


def test_control_does_not_start_without_the_right_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            await node.client.put(f"{PATH}/A", json={"value": CANARY})

    asyncio.run(scenario())
    key = tmp_path / "secret.key"
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(Fault, match=r"secret\.key is not there"):
        ControlNode(Settings(data_dir=str(tmp_path)), "ab" * 16, VirtualClock())
    assert not key.exists()
    other = tmp_path / "elsewhere.key"
    other.write_bytes(kept)
    other.chmod(0o600)
    settings = Settings(data_dir=str(tmp_path), secret_key_file=str(other))
    asyncio.run(ControlNode(settings, "ab" * 16, VirtualClock()).close())
