"""Every route × every token × own, other and unknown namespace, against a table of this file's own.

The routes come from the application; a new one joins by itself and fails until it is classified here. What is
expected is computed without the platform's tables. With enforcement switched off the matrix must fail.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from access_classes import CLASSES, MAY
from control_harness import Harness, control
from fastapi.routing import APIRoute

from wispd.api import admin_guard
from wispd.api.admin_guard import Guard
from wispd.api.permitting import Declared, all_routes
from wispd.base.errors import Fault
from wispd.model.published import Token

MINE, THEIRS, NOWHERE = "mine", "theirs", "nowhere"
LET_IN = 501  # what a request answers that guard and gate have let through
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Caller(NamedTuple):
    """Who asks. `namespace` "": a token of the node; `state`: valid, expired, revoked, unknown or none."""

    role: str
    namespace: str
    state: str = "valid"

    @property
    def text(self) -> str:
        return f"wisp_{self.role}_{self.namespace or 'node'}_{self.state}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": "" if self.state == "none" else f"Bearer {self.text}"}

    def token(self) -> Token:
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        expires_us = 1 if self.state == "expired" else 0
        return Token(digest=digest, role=self.role, namespace=self.namespace, expires_us=expires_us, id=self.text)


ROLES = ("admin", "deployer", "invoker", "viewer", "nonsense")
VALID = [Caller(role, namespace) for role in ROLES for namespace in (MINE, "")]
INVALID = [Caller("admin", "", state) for state in ("expired", "revoked", "unknown", "none")]


def routes(node: Harness) -> Iterator[tuple[str, str, APIRoute]]:
    for route, _ in all_routes(node.node.routers()):
        for method in sorted(route.methods or ()):
            yield f"{method} {route.path}", method, route


def expected(what: str, caller: Caller, wanted: str) -> str:
    """Return what must come: in, 401, 403 or 404. `wanted` is the path's namespace, "" where it has none."""
    kind = CLASSES[what]
    if kind == "open":
        return "in"
    if caller.state != "valid":
        return "401"
    if wanted == NOWHERE or (wanted and caller.namespace not in ("", wanted)):
        return "404"
    of_node = kind.startswith("node:")
    if of_node and caller.namespace:
        return "403"
    return "in" if caller.role in MAY[kind.removeprefix("node:")] else "403"


async def outcome(node: Harness, method: str, path: str, caller: Caller) -> str:
    headers = caller.headers | {"Content-Type": "application/json"}
    answer = await node.client.request(method, path, headers=headers)
    return {LET_IN: "in"}.get(answer.status_code, str(answer.status_code))


async def run(node: Harness) -> list[str]:
    """Return what went otherwise than expected."""
    wrong, seen = [], Counter[str]()
    for what, method, route in routes(node):
        in_namespace = "{namespace}" in route.path
        for wanted in (MINE, THEIRS, NOWHERE) if in_namespace else ("",):
            path = route.path.replace("{namespace}", wanted).replace("{rest:path}", "a/b")
            for caller in (*VALID, *INVALID):
                want = expected(what, caller, wanted)
                got = await outcome(node, method, path, caller)
                seen[want] += 1
                if got != want:
                    wrong.append(f"{what} in {wanted or 'the node'} as {caller}: {got}, must be {want}")
    assert min(seen[word] for word in ("in", "401", "403", "404")) > 20, seen
    return wrong


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """End every request that is let in, before its handler does anything."""
    original = Guard.__call__

    async def stopped(self: Guard, request: admin_guard.Request) -> None:
        await original(self, request)
        raise Fault("not_implemented", "let in")

    monkeypatch.setattr(Guard, "__call__", stopped)


def stock(node: Harness) -> None:
    """Put namespaces and tokens into the store."""
    store = node.node._store
    for name in (MINE, THEIRS):
        store.namespaces.add(name)
    for caller in (*VALID, *INVALID):
        if caller.state not in ("none", "unknown"):
            store.credentials.add(caller.token(), created_by="test")
        if caller.state == "revoked":
            store.credentials.revoke("", caller.text)
    store.commit()


def matrix(tmp_path: Path) -> list[str]:
    async def scenario() -> list[str]:
        async with control(tmp_path) as node:
            stock(node)
            return await run(node)

    return asyncio.run(scenario())


def test_every_route_is_classified(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            there = {what for what, _, _ in routes(node)}
            assert sorted(there - set(CLASSES)) == [], "classify these in tests/unit/control/access_classes.py"
            assert sorted(set(CLASSES) - there) == [], "these are gone"

    asyncio.run(scenario())


@pytest.mark.usefixtures("guarded")
def test_the_matrix(tmp_path: Path) -> None:
    assert matrix(tmp_path) == []


@pytest.mark.usefixtures("guarded")
def test_without_enforcement_the_matrix_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_guard, "authorize", lambda *_, **__: None)
    wrong = matrix(tmp_path)
    assert {line[-3:] for line in wrong} == {"403", "404"}
    assert len({line.split(" in ")[0] for line in wrong}) >= len(CLASSES) - 4, "all routes but the open ones"


def test_other_verbs_are_405_with_a_token_and_401_without(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            stock(node)
            known: dict[str, set[str]] = {}
            for _, method, route in routes(node):
                known.setdefault(route.path.replace("{rest:path}", "a"), set()).add(method)
            for path, methods in known.items():
                for verb in set(VERBS) - methods:
                    answer = await node.client.request(verb, path.replace("{namespace}", MINE))
                    assert answer.status_code == 405, (verb, path)
                    assert answer.headers["content-type"] == "application/problem+json"
                    if CLASSES.get(f"GET {path}") != "open":
                        answer = await node.client.request(verb, path, headers={"Authorization": ""})
                        assert answer.status_code == 401, (verb, path)

    asyncio.run(scenario())


def test_a_foreign_namespace_and_one_that_is_not_there_look_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            stock(node)
            for role in ("admin", "viewer", "invoker"):
                headers = Caller(role, MINE).headers
                path = "/v1/namespaces/{}/functions/hello"
                answers = [await node.client.get(path.format(name), headers=headers) for name in (THEIRS, NOWHERE)]
                bodies = {answer.text.replace(THEIRS, "X").replace(NOWHERE, "X") for answer in answers}
                assert len(bodies) == 1
                assert {answer.status_code for answer in answers} == {404}
            denied = await node.client.put(path.format(MINE), json={}, headers=Caller("viewer", MINE).headers)
            assert (denied.status_code, denied.json()["role"]) == (403, "viewer")
            assert denied.json()["permission"] == "functions.write"

    asyncio.run(scenario())


def test_a_route_without_a_permission_is_not_built() -> None:
    from fastapi import APIRouter

    from wispd.api.permitting import needs

    bare, mounted, unscoped = APIRouter(), APIRouter(), APIRouter()
    bare.get("/x")(lambda: None)
    mounted.mount("/y", lambda scope, receive, send: None)
    unscoped.get("/z", **needs("functions.read"))(lambda: None)
    for router, word in ((bare, "declares no permission"), (mounted, "no plain route"), (unscoped, "scope")):
        with pytest.raises(ValueError, match=word):
            all_routes([router])
    with pytest.raises(ValueError, match="no error codes"):
        needs("functions.read", errors=["made_up"])
    assert isinstance(needs("open")["openapi_extra"]["x-wisp-permission"], Declared)
