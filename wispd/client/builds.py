"""Builds through the control API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from wispd.base.errors import CODES, Fault
from wispd.client.node import Json, NodeClient

Told = Callable[[Json], None]  # one event: build, step, log, fetch


def build(client: NodeClient, document: Json, told: Told) -> Json:
    """Build what `document` asks for and return the build; `told` hears how it goes.

    Raises: `Fault`, the node's own: `build_failed` says what to do and has the output's last lines in `output`.
    """
    for event in client.lines("POST", f"{client.base}/builds", json=document):
        kind = event.get("event")
        if kind == "done":
            return dict(event["build"])
        if kind == "failed":
            raise _fault_of(event["error"])
        told(event)
    raise Fault("unavailable", "the node ended the build without saying how it went; is it still up?")


def fetch_package(client: NodeClient, url: str, sha256: str) -> str:
    """Have the node fetch a zip and return the digest of its tree."""
    return str(client.ask("POST", f"{client.base}/packages/fetch", json={"url": url, "sha256": sha256})["code"])


def show(client: NodeClient, build_id: str) -> Json:
    """Return one build, with what it wrote."""
    return client.ask("GET", f"{client.base}/builds/{quote(build_id, safe='')}")


def page(client: NodeClient, **wanted: str) -> Json:
    """Return one page of builds, newest first. `wanted`: limit, cursor."""
    return client.ask("GET", f"{client.base}/builds", params={key: value for key, value in wanted.items() if value})


def _fault_of(problem: Any) -> Fault:
    code = problem.get("code")
    known = {"type", "title", "status", "detail", "code", "retryable", "self", "message", "retry_after_s"}
    facts = {key: value for key, value in problem.items() if key not in known and key.isidentifier()}
    return Fault(code if code in CODES else "internal", str(problem.get("detail", "")), **facts)
