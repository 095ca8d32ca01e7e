"""The examples of docs/handlers.md run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from driver import ROOT, Driver

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "handlers.md").read_text(encoding="utf-8"), re.DOTALL)


def block_with(words: str) -> str:
    (found,) = [block for block in BLOCKS if words in block]
    return str(found)


@pytest.mark.parametrize(
    ("words", "dialect", "target", "body"),
    [
        ("greeting %s", "native", "/?name=Ada", b'{"hello":"Ada"}'),
        ("<h1>Hi</h1>", "native", "/", b"<h1>Hi</h1>"),
        ("def lambda_handler", "lambda", "/a%20b", b"/a%20b"),
        ("FastAPI", "asgi", "/hello/Ada", b'{"hello":"Ada"}'),
        ("Flask", "wsgi", "/hello/Ada", b'{"hello":"Ada"}\n'),
    ],
)
def test_an_example_runs(tmp_path: Path, words: str, dialect: str, target: str, body: bytes) -> None:
    with Driver(tmp_path, block_with(words)) as driver:
        answer = driver.ready().get(target)
        assert (driver.dialect, answer.body) == (dialect, body)
