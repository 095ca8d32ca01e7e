"""No verb takes a field that would give a function more of the host: what is not on the list is refused by name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from control_harness import control

from wispd.api.permitting import Raw, all_routes

FIELDS = (
    *("privileged", "capabilities", "cap_add", "securityContext", "security_context", "seccomp", "apparmor"),
    *("user", "uid", "gid", "runAsUser", "run_as", "root", "hostPath", "host_path", "volumes", "mounts", "devices"),
    *("hostNetwork", "host_network", "network_mode", "pid", "ipc", "sysctls", "ulimits", "command", "entrypoint"),
    *("image", "podspec", "container", "serviceAccount", "initContainers", "namespace", "__proto__", "id", "number"),
)
NESTED = ({"network": {"mode": "host"}}, {"network": {"host": True}}, {"instances": {"privileged": True}})
PLACES = {
    "namespace": "default",
    "name": "hello",
    "alias": "beta",
    "number": "1",
    "scope": "namespace",
    "period": "day",
}
BODILESS = ("/rollout/abort", "/rollout/promote", "/rotate-key")  # they read no body


def test_dangerous_fields_are_refused_by_every_verb(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            code = (await node.deploy("hello")).json()["live"]["code"]
            tried = 0
            for route, declared in all_routes(node.node.routers()):
                bodied = (route.methods or set()) & {"POST", "PUT", "PATCH"}
                if isinstance(declared.takes, Raw) or not bodied or route.path.endswith(BODILESS):
                    continue
                path = route.path.format(**(dict.fromkeys(route.param_convertors, "x") | PLACES))
                base = {"code": code} if route.path.endswith("/functions/{name}") else {}
                for field in FIELDS:
                    for method in bodied:
                        answer = await node.client.request(method, path, json=base | {field: "host"})
                        assert answer.status_code == 400, (method, path, field, answer.text)
                        assert answer.json()["code"] == "invalid_argument"
                        tried += 1
            assert tried > 4 * len(FIELDS)
            live = (await node.client.get("/v1/namespaces/default/functions/hello")).json()["live"]
            assert live["number"] == 1, "nothing of it came through"

    asyncio.run(scenario())


@pytest.mark.parametrize("document", NESTED)
def test_dangerous_fields_further_in_are_refused_too(tmp_path: Path, document: dict[str, object]) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            answer = await node.deploy("hello", **document)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")

    asyncio.run(scenario())
