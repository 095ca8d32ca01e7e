"""An error that nobody foresaw leaves its place in the log, and nothing of what the caller sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from control_harness import TOKEN, control

from wispd.adapters.store.control import ControlStore
from wispd.api.admin_failures import CAUSES_MAX, FRAMES_MAX, described

SENT = "what-the-caller-sent"


class Deep(Exception):
    """Raised far below."""


def asked(data_dir: Path) -> httpx.Response:
    async def scenario() -> httpx.Response:
        async with control(data_dir) as node:
            return await node.client.get("/v1/namespaces/default/functions/hello")

    return asyncio.run(scenario())


def test_the_place_of_a_bug_is_in_the_log_and_what_was_sent_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(store: ControlStore, namespace: str, name: str) -> None:
        try:
            raise ValueError(f"{SENT} {name}")
        except ValueError as error:
            raise KeyError(f"{SENT} {TOKEN}") from error

    monkeypatch.setattr(ControlStore, "find", broken)
    answer = asked(tmp_path)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    log = capfd.readouterr().err
    pattern = "/v1/namespaces/{namespace}/functions/{name}"
    assert f"internal: GET {pattern} failed with builtins.KeyError" in log
    assert "caused by builtins.ValueError" in log
    assert f"{__file__}:" in log
    assert "in broken" in log
    assert not any(text in log for text in (SENT + " hello", TOKEN, SENT + " " + TOKEN))


def test_negative_control_a_refusal_leaves_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert asked(tmp_path).status_code == 404
    assert capfd.readouterr().err == ""


def test_what_is_told_is_bounded() -> None:
    def deep(depth: int) -> None:
        if depth == 0:
            raise Deep
        deep(depth - 1)

    def chained(depth: int) -> None:
        try:
            deep(50)
        except Deep:
            if depth:
                chained(depth - 1)
            raise

    with pytest.raises(Deep) as caught:
        chained(10)
    lines = described(caught.value, "GET /x").splitlines()
    assert len(lines) <= CAUSES_MAX * (FRAMES_MAX + 1)
