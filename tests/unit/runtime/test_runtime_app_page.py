"""The examples of docs/app-files.md run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from driver import ROOT, Driver

PAGE = (ROOT / "docs" / "app-files.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
ASKED = [
    ("shop", "GET", "/orders/7", "", 200, b'{"order_id":7,"state":"new"}'),
    ("files", "GET", "/files/new", "", 200, b"a form"),
    ("files", "GET", "/files/a%2Fb", "", 200, b"file a/b"),
    ("files", "DELETE", "/files/new", "", 200, b"somewhere below: new"),
    ("files", "GET", "/files", "", 200, b"somewhere below: "),
    ("files", "POST", "/files/x", "", 405, b""),
    ("catalogue", "POST", "/products", '{"sku":"a","price":{"amount":2}}', 201,
     b'{"sku":"a","price":{"amount":2.0,"currency":"EUR"},"tags":[]}'),
    ("catalogue", "POST", "/products", '{"sku":"","price":{"amount":2}}', 400, b"body: sku must not be empty"),
    ("catalogue", "GET", "/products/a?per-page=5&tag=x&tag=y", "", 200,
     b'{"sku":"a","tag":["x","y"],"per_page":5,"language":"en","session":null}'),
    ("lookup", "GET", "/stock/pen", "", 200, b"3"),
    ("lookup", "GET", "/stock/ink", "", 404, b'"detail":"there is no ink","sku":"ink"'),
    ("ticker", "GET", "/ticks/3", "", 200, b"0\n1\n2\n"),
]  # fmt: skip


def block_of(app: str) -> str:
    (found,) = [block for block in BLOCKS if f'App("{app}")' in block]
    return str(found)


def test_every_example_is_asked() -> None:
    assert {app for app, *_ in ASKED} | {"billing"} == set(re.findall(r'^app = App\("(\w+)"\)', PAGE, re.MULTILINE))


@pytest.mark.parametrize("asked", ASKED, ids=[f"{app} {method} {target}" for app, method, target, *_ in ASKED])
def test_an_example_answers(tmp_path: Path, asked: tuple[str, str, str, str, int, bytes]) -> None:
    app, method, target, body, status, answer = asked
    headers = (("content-type", "application/json"),) if body else ()
    with Driver(tmp_path, block_of(app), describe=True) as driver:
        got = driver.ready().get(target, method=method, headers=headers, body=body.encode())
        assert got.status == status
        assert answer in got.body if status >= 400 else answer == got.body


@pytest.mark.parametrize(
    ("app", "kind", "sent", "answer"),
    [
        ("shop", "order.created", {"order_id": 7}, {"charged": 7}),
        ("billing", "order.created", {"order_id": 7, "total": 2.5}, {"charged": 2.5, "attempt": 0}),
        ("billing", "wisp.call", {"a": 1}, {"called with": {"a": 1}}),
    ],
)
def test_an_example_takes_events(tmp_path: Path, app: str, kind: str, sent: object, answer: object) -> None:
    headers = (("ce-type", kind), ("content-type", "application/json"))
    with Driver(tmp_path, block_of(app)) as driver:
        driver.ready()
        assert driver.outcome(driver.event(json.dumps(sent).encode(), headers=headers)).json() == answer
