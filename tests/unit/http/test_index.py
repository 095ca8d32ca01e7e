"""The page at `/`: for this machine itself, of what anybody may call there, with nothing that a name smuggles in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from http_harness import Gate, body_of, header, published, status

from wispd.api.index import LISTED_MAX
from wispd.model.function import Route

HOSTILE = "<script>alert(1)</script>\"'&"


def gate(**settings: Any) -> Gate:
    return Gate(
        published("hello", description=HOSTILE),
        published("closed", access="token"),
        published("inner", access="private"),
        published("open", access="public", namespace="team"),
        published("Under_score", access="public"),
        published("off", enabled=False),
        **settings,
    )


def test_it_lists_what_is_open_and_nothing_else() -> None:
    answer = gate().request("/", "Accept: application/json")
    assert (status(answer), header(answer, "Content-Type")) == (200, "application/json")
    document = json.loads(body_of(answer))
    assert {row["name"]: row["urls"] for row in document["functions"]} == {
        "Under_score": ["http://localhost:8080/fn/Under_score/"],
        "hello": ["http://localhost:8080/fn/hello/", "http://hello.localhost:8080/"],
        "team/open": ["http://open.team.localhost:8080/"],
    }
    assert document["complete"] is True


def test_the_page_is_one_and_harmless() -> None:
    answer = gate().request("/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
    page = body_of(answer).decode()
    assert (status(answer), header(answer, "Content-Type")) == (200, "text/html; charset=utf-8")
    assert "3 functions" in page
    assert '<a href="/fn/hello/">hello</a>' in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;" in page
    policy = header(answer, "Content-Security-Policy") or ""
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert (header(answer, "Wisp-Invocation-Id") or "").startswith("inv_")
    assert not any(word in page for word in ("closed", "inner", "off<"))


@pytest.mark.parametrize(
    ("target", "host", "headers", "settings"),
    [
        ("/", "localhost:8080", ("X-Forwarded-For: 10.0.0.1",), {}),
        ("/", "localhost:8080", (), {"loopback": False}),
        ("/", "nobody.localhost:8080", (), {}),
        ("/other", "localhost:8080", (), {}),
    ],
)
def test_for_others_there_is_nothing(target: str, host: str, headers: Any, settings: Any) -> None:
    answer = gate(**settings).request(target, *headers, host=host)
    assert status(answer) == 404
    assert "hello" not in body_of(answer).decode().replace("/fn/<name>", "")


def test_a_foreign_host_is_refused_before_anything_is_said() -> None:
    assert status(gate().request("/", host="evil.example")) == 421


def test_only_looking_is_answered() -> None:
    door = gate()
    assert status(door.request("/", method="POST")) == 404
    answer = door.request("/", method="HEAD")
    assert (status(answer), body_of(answer)) == (200, b"")
    assert door.calls.invocations == []


def test_a_route_of_a_function_comes_first() -> None:
    door = Gate(published("site", routes=(Route("", "", "/"),)))
    door.request("/")
    assert len(door.calls.invocations) == 1


def test_very_many_are_cut() -> None:
    door = Gate(*(published(f"f{number}") for number in range(LISTED_MAX + 5)))
    document = json.loads(body_of(door.request("/", "Accept: application/json")))
    assert (len(document["functions"]), document["complete"]) == (LISTED_MAX, False)


def test_an_empty_node_says_so() -> None:
    assert "no function" in body_of(Gate().request("/")).decode()
