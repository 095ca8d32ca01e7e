"""Every template of `wisp init`, deployed and called."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodes import Node

from wispd.cli.starting import TEMPLATES, write

pytestmark = pytest.mark.once


def picture(width: int, height: int) -> bytes:
    """A grey PNG. Source: W3C PNG specification, sections 5 and 11."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


# template → (method, path below the function, what is sent, what the answer holds)
CALLS: dict[str, tuple[str, str, dict[str, Any], bytes]] = {
    "http": ("GET", "?name=you", {}, b'{"hello":"you"}'),
    "app": ("POST", "/orders", {"json": {"product": "tea", "quantity": 2}}, b'"total":7.0'),
    "fastapi": ("POST", "/orders", {"json": {"product": "tea", "quantity": 2}}, b'"total":7.0'),
    "flask": ("GET", "/?name=you", {}, b'{"hello":"you"}'),
    "scheduled": ("GET", "/now", {}, b'"missing":["bread"]'),
    "image": ("POST", "?size=32", {"content": picture(64, 32)}, struct.pack(">2I", 32, 16)),
    "ml": ("POST", "", {"json": {"rows": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}}, b'["setosa","virginica"]'),
}


def test_all_templates_are_called() -> None:
    assert set(CALLS) == set(TEMPLATES)


@pytest.mark.parametrize("template", CALLS)
def test_a_template_works_as_it_is(template: str, shared: Node, tmp_path: Path) -> None:
    name = f"from-{template}"
    write(tmp_path / name, template, name)
    url = str(shared.json("deploy", str(tmp_path / name))["url"])
    method, path, sent, said = CALLS[template]
    answer = httpx.request(method, url + path, timeout=60, trust_env=False, **sent)
    assert answer.status_code == 200, answer.text
    assert said in (answer.content if template == "image" else answer.content.replace(b" ", b"").replace(b"\n", b""))
