"""The OpenAPI document: valid, complete, and the page that is made of it."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import pytest
from control_harness import control
from openapi_spec_validator import OpenAPIV31SpecValidator

from wispd.api.permitting import all_routes
from wispd.model.permission import PERMISSIONS

NOBODY = {"Authorization": ""}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    async def scenario() -> dict[str, Any]:
        async with control(tmp_path_factory.mktemp("openapi")) as node:
            answer = await node.client.get("/v1/openapi.json", headers=NOBODY)
            assert answer.status_code == 200
            found: dict[str, Any] = answer.json()
            return found

    return asyncio.run(scenario())


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", one)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    ]


def test_it_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


def test_every_route_is_described(document: dict[str, Any]) -> None:
    """A new route needs a docstring, and `returns=` (and `takes=` for a body) in its `needs(…)`."""
    bare = {}
    for what, one in operations(document):
        missing = []
        if not one["summary"].endswith("."):
            missing.append("a docstring whose first line is a sentence")
        if one["x-wisp-permission"] not in PERMISSIONS | {"open"}:
            missing.append("a permission")
        good = [answer for status, answer in one["responses"].items() if status < "300" or status == "default"]
        shapes = [shape for answer in good for shape in answer.get("content", {"": {"schema": "none"}}).values()]
        if not good or any(shape.get("schema") == {"type": "object"} and "openapi" not in what for shape in shapes):
            missing.append("returns=")
        if what.startswith("PUT") and "requestBody" not in one:
            missing.append("takes=")
        if one["x-wisp-permission"] != "open" and not {"401", "403"} <= set(one["responses"]):
            missing.append("its refusals")
        if missing:
            bare[what] = missing
    assert bare == {}


def test_it_covers_the_route_table_and_names_are_unique(document: dict[str, Any], tmp_path: Path) -> None:
    async def scenario() -> set[str]:
        async with control(tmp_path) as node:
            return {
                f"{method} {re.sub(r':path', '', route.path)}"
                for route, _ in all_routes(node.node.routers())
                for method in route.methods or ()
            }

    found = operations(document)
    assert {what for what, _ in found} == asyncio.run(scenario())
    names = [one["operationId"] for _, one in found]
    assert len(set(names)) == len(names)


def test_the_page_shows_everything_and_loads_nothing(tmp_path: Path, document: dict[str, Any]) -> None:
    class Loads(HTMLParser):
        found: ClassVar[list[str]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [f"{tag} {key}={value}" for key, value in attrs if key in ("src", "srcset", "onclick")]
            self.found += [tag] * (tag in ("script", "link", "iframe", "img", "object"))

    async def scenario() -> None:
        async with control(tmp_path) as node:
            page = await node.client.get("/v1/docs", headers=NOBODY)
            assert page.status_code == 200
            assert "default-src 'none'" in page.headers["content-security-policy"]
            for path in document["paths"]:
                assert path in page.text
            parser = Loads()
            parser.feed(page.text)
            assert parser.found == []
            assert "url(" not in page.text

    asyncio.run(scenario())
