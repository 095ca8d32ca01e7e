"""The control API against a model: whatever is created, changed, deleted and listed, both agree."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from control_harness import Harness, control
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SPACES = ("default", "acme")
NAMES = ("a", "A", "b", "hello-1", "x" * 64)
STEP = st.one_of(
    st.tuples(st.just("deploy"), st.sampled_from(SPACES), st.sampled_from(NAMES), st.integers(1, 3)),
    st.tuples(st.just("delete"), st.sampled_from(SPACES), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("show"), st.sampled_from(SPACES), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("list"), st.sampled_from(SPACES), st.just(""), st.integers(1, 3)),
)


class Model:
    """What must be there: per namespace, lower-case key → (name, timeout)."""

    def __init__(self) -> None:
        self.spaces: dict[str, dict[str, tuple[str, int]]] = {space: {} for space in SPACES}

    def deploy(self, space: str, name: str, seconds: int) -> int:
        there = self.spaces[space].get(name.lower())
        if there is not None and there[0] != name:
            return 409
        self.spaces[space][name.lower()] = (name, seconds)
        return 200 if there == (name, seconds) else 0  # 0: a version that is new, or known from before

    def delete(self, space: str, name: str) -> int:
        if self.spaces[space].get(name.lower(), ("", 0))[0] != name:
            return 404
        del self.spaces[space][name.lower()]
        return 204


class Real:
    """The API, asked as a client would."""

    def __init__(self, node: Harness, code: dict[str, str]) -> None:
        self._node = node
        self._code = code

    async def deploy(self, space: str, name: str, seconds: int) -> int:
        document = {"code": self._code[space], "timeout": seconds, "trial": False}
        path = f"/v1/namespaces/{space}/functions/{name}"
        return (await self._node.client.put(path, json=document)).status_code

    async def delete(self, space: str, name: str) -> int:
        return (await self._node.client.delete(f"/v1/namespaces/{space}/functions/{name}")).status_code

    async def show(self, space: str, name: str) -> tuple[str, int] | None:
        answer = await self._node.client.get(f"/v1/namespaces/{space}/functions/{name}")
        if answer.status_code == 404:
            return None
        return answer.json()["name"], int(answer.json()["live"]["timeout_s"])

    async def list(self, space: str, limit: int) -> list[str]:
        found, cursor = [], ""
        while True:
            query: dict[str, Any] = {"limit": limit, "cursor": cursor}
            page = (await self._node.client.get(f"/v1/namespaces/{space}/functions", params=query)).json()
            assert len(page["items"]) <= limit
            found += [one["name"] for one in page["items"]]
            if page["next"] is None:
                return found
            cursor = page["next"]


async def agree(model: Model, real: Real, step: tuple[str, str, str, int]) -> None:
    what, space, name, number = step
    if what == "deploy":
        want, got = model.deploy(space, name, number), await real.deploy(space, name, number)
        assert got == want or (want == 0 and got in (200, 201)), step
    elif what == "delete":
        assert await real.delete(space, name) == model.delete(space, name), step
    elif what == "show":
        there = model.spaces[space].get(name.lower())
        want_shown = there if there is not None and there[0] == name else None
        assert await real.show(space, name) == want_shown, step
    else:
        wanted = [there[0] for _, there in sorted(model.spaces[space].items())]
        assert await real.list(space, number) == wanted, step


async def play(folder: Path, steps: list[tuple[str, str, str, int]], model: Model) -> None:
    async with control(folder) as node:
        await node.client.post("/v1/namespaces", json={"name": "acme"})
        code = {"default": await node.upload()}
        node.node._store.uploads.add("acme", "code", code["default"])
        node.node._store.commit()
        real = Real(node, code | {"acme": code["default"]})
        for step in steps:
            await agree(model, real, step)
        for space in SPACES:
            await agree(model, real, ("list", space, "", 2))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, max_size=25))
def test_model_and_api_agree(steps: list[tuple[str, str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder), steps, Model()))


def test_a_model_that_is_wrong_does_not_agree() -> None:
    class Wrong(Model):
        def delete(self, space: str, name: str) -> int:
            super().delete(space, name)
            return 204

    steps = [("deploy", "default", "a", 1), ("delete", "default", "b", 0)]
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(ExceptionGroup) as caught:
            asyncio.run(play(Path(folder), steps, Wrong()))
        assert caught.value.subgroup(AssertionError) is not None
