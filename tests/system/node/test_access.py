"""Who may what on a real node: both listeners, through restarts and kills, and where a token's text is found."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodes import Node, eventually

SECRET = "def handle(event, context):\n    return 'inside'\n"
JSON = {"Content-Type": "application/json"}


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def token(node: Node, role: str, *flags: str) -> Any:
    return node.json("token", "create", "--role", role, *flags)


def admin(node: Node, method: str, path: str, text: str, **given: Any) -> httpx.Response:
    return httpx.request(
        method, node.admin_url + path, headers=bearer(text) | JSON, timeout=30, trust_env=False, **given
    )


@pytest.fixture(scope="module")
def guarded(shared: Node) -> Node:
    """The shared node with a function for token holders, one for nobody, and a second namespace where it can be."""
    source = shared.write("inner", SECRET)
    code = shared.json("deploy", str(source), "--name", "seed")["live"]["code"]
    for name, access in (("inner", "token"), ("hidden", "private")):
        document = {"code": code, "handler": "inner:handle", "access": access}
        answer = admin(shared, "PUT", f"/v1/namespaces/default/functions/{name}", shared.token, json=document)
        assert answer.status_code == 201, answer.text
    return shared


def test_roles_hold_on_both_listeners(guarded: Node) -> None:
    calls = {"admin": 200, "deployer": 200, "invoker": 200, "viewer": 403}
    for role, status in calls.items():
        text = token(guarded, role)["token"]
        public = guarded.get("/fn/inner", headers=bearer(text))
        inside = admin(guarded, "POST", "/v1/namespaces/default/functions/hidden/invoke", text)
        assert (role, public.status_code, inside.status_code) == (role, status, status)
        assert guarded.get("/fn/inner").status_code == 401


def test_a_private_function_has_no_public_way_in(guarded: Node) -> None:
    """Whatever the address, the host or the token: nothing of it is told."""
    text = token(guarded, "admin", "--node")["token"]
    port = guarded.url.rpartition(":")[2]
    nothing = guarded.get("/fn/nothing", headers=bearer(text)).json()
    for path, host in (
        ("/fn/hidden", ""),
        ("/fn/hidden/deep/path", ""),
        ("/fn/HIDDEN", ""),
        ("/fn/%68idden", ""),
        ("/fn/hidden:1", ""),
        ("/fn/hidden@live", ""),
        ("/", f"hidden.localhost:{port}"),
        ("/", f"hidden.default.localhost:{port}"),
        ("/_wisp/invoke/default/hidden", ""),
        ("/fn/hello/../hidden", ""),
    ):
        headers = bearer(text) | ({"Host": host} if host else {})
        websocket = headers | {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        for given in (headers, websocket, headers | {"Prefer": "respond-async"}):
            answer = guarded.get(path, headers=given)
            assert answer.status_code in (400, 404), (path, host, answer.status_code)
            assert "inside" not in answer.text
    assert guarded.get("/async/hidden", headers=bearer(text)).status_code != 200
    assert guarded.get("/fn/hidden", headers=bearer(text)).json()["code"] == nothing["code"]


def test_a_revoked_token_is_refused_at_once_and_its_followers_end(guarded: Node) -> None:
    made = token(guarded, "deployer", "--name", "leaver")
    assert guarded.get("/fn/inner", headers=bearer(made["token"])).status_code == 200, (
        "warm, and known to the gateway"
    )
    ended = threading.Event()

    def follow() -> None:
        url = f"{guarded.admin_url}/v1/namespaces/default/logs?follow=true"
        with httpx.stream("GET", url, headers=bearer(made["token"]), timeout=30, trust_env=False) as answer:
            for _ in answer.iter_bytes():
                pass
        ended.set()

    follower = threading.Thread(target=follow)
    follower.start()
    guarded.json("token", "revoke", made["id"])
    assert guarded.get("/fn/inner", headers=bearer(made["token"])).status_code == 401
    assert admin(guarded, "GET", "/v1/namespaces/default/functions", made["token"]).status_code == 401
    eventually(ended.is_set, "the follower goes on")
    follower.join()
    entries = guarded.json("audit", "list", "--node", "--limit", "10")["items"]
    assert any(one["operation"].startswith("DELETE") and one["target"] == made["id"] for one in entries)


def test_a_revocation_that_control_did_not_live_to_tell_holds_too(node: Node) -> None:
    source = node.write("inner", SECRET)
    code = node.json("deploy", str(source), "--name", "seed")["live"]["code"]
    document = {"code": code, "handler": "inner:handle", "access": "token"}
    admin(node, "PUT", "/v1/namespaces/default/functions/inner", node.token, json=document)
    made = token(node, "invoker")
    assert node.get("/fn/inner", headers=bearer(made["token"])).status_code == 200
    os.kill(node.pid("gateway"), signal.SIGSTOP)  # it hears nothing of what follows
    revoking = threading.Thread(target=node.cli, args=("token", "revoke", made["id"]))
    revoking.start()
    journal = node.path / "published" / "journal.jsonl"
    eventually(lambda: b"token_revoked" in journal.read_bytes(), "the revocation is not in the journal")
    node.kill("control")
    os.kill(node.pid("gateway"), signal.SIGCONT)
    eventually(
        lambda: node.get("/fn/inner", headers=bearer(made["token"])).status_code == 401, "the token is still taken"
    )
    revoking.join()


def test_the_audit_log_verifies_and_a_kept_head_holds(guarded: Node) -> None:
    head = guarded.json("audit", "verify")["head"]
    token(guarded, "viewer")
    verdict = guarded.json("audit", "verify", "--head", head)
    assert verdict["broken"] == 0
    assert verdict["entries"] > int(head.partition(":")[0])
    forged = guarded.cli("audit", "verify", "--head", f"{head.partition(':')[0]}:{'0' * 64}")
    assert forged.returncode == 6
    assert b"BROKEN" in forged.stdout


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.name != "cli-token")


def test_a_tokens_text_is_nowhere(guarded: Node) -> None:
    """Not in the store, its log, the journal, records, logs, answers, or any command line."""
    made = token(guarded, "admin", "--node", "--name", "canary")
    canary = made["token"]
    guarded.get("/fn/inner", headers=bearer(canary))
    guarded.get(f"/fn/inner?x={'y' * 20}", headers=bearer(canary + "wrong"))
    admin(guarded, "PUT", "/v1/namespaces/default/functions/x", canary, json={"code": "bad"})
    admin(guarded, "GET", "/v1/namespaces/nowhere/functions", canary)
    found = [path.name for path in _files(guarded.path) if canary.encode() in path.read_bytes()]
    assert found == []
    for pid in guarded.pids():
        assert canary.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    for path in ("/v1/tokens", "/v1/audit", "/v1/status", "/metrics", "/v1/namespaces/default/logs"):
        assert canary not in admin(guarded, "GET", path, canary).text, path
    assert guarded.token.encode() in (guarded.path / "cli-token").read_bytes(), "the search would have found it"
    assert (guarded.path / "cli-token").stat().st_mode & 0o077 == 0
