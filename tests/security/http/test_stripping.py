"""C5: what a client says in the platform's name does not get in, and what the platform says can't be taken out."""

from __future__ import annotations

import pytest
from http_harness import Gate, block_of, header, published

from wisp.runtime import frames


def headers_after(*lines: str) -> dict[bytes, bytes]:
    gate = Gate(published(access="public"))
    gate.request("/fn/hello", *lines)
    (invocation,) = gate.calls.invocations
    return block_of(invocation)[1]


@pytest.mark.parametrize(
    "name",
    [
        "Wisp-Invocation-Id",
        "WISP-INVOCATION-ID",
        "wisp-namespace",
        "Wisp-Attempt",
        "Wisp-Depth",
        "Wisp-User",
        "Wisp_Namespace",
        "wisp-_x",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Upgrade",
        "HTTP2-Settings",
    ],
)
def test_forged_and_hop_headers_are_stripped(name: str) -> None:
    headers = headers_after(f"{name}: forged", "X-Mine: stays")
    assert name.lower().encode() not in headers
    assert headers[b"x-mine"] == b"stays"


def test_connection_strips_what_it_names_but_not_what_others_rely_on() -> None:
    headers = headers_after(
        "Connection: X-Gone, Authorization, Cookie, Host, Content-Type, X-Forwarded-For, Traceparent-Not",
        "X-Gone: 1",
        "Authorization: Basic abc",
        "Cookie: a=b",
        "Content-Type: text/plain",
        "X-Forwarded-For: 1.2.3.4, 5.6.7.8",
    )
    assert b"x-gone" not in headers
    kept = (b"authorization", b"cookie", b"host", b"content-type", b"x-forwarded-for")
    assert [name for name in kept if name not in headers] == []
    assert headers[b"x-forwarded-for"] == b"1.2.3.4, 5.6.7.8"  # passed on as the client said it: nothing to trust


def test_connection_can_not_remove_the_platforms_own_trace() -> None:
    headers = headers_after("Connection: traceparent, wisp-invocation-id")
    assert headers[b"traceparent"].startswith(b"00-")


def test_answers_id_is_ours_whatever_the_client_sent() -> None:
    gate = Gate(published())
    answer = gate.request("/fn/hello", "Wisp-Invocation-Id: inv_" + "0" * 32)
    assert header(answer, "Wisp-Invocation-Id") == f"inv_{gate.calls.invocations[0].id.hex()}"
    assert answer.count(b"Wisp-Invocation-Id") == 1


@pytest.mark.parametrize(
    ("cookie", "left"),
    [
        ("wisp_console=secret", None),
        ("a=1; wisp_console=secret; b=2", b"a=1; b=2"),
        ("a=1;wisp_console=secret", b"a=1"),
        ("wisp_console =secret; x=wisp_console", b"x=wisp_console"),
        ("my_wisp_console=1", b"my_wisp_console=1"),
    ],
)
def test_console_cookie_is_stripped(cookie: str, left: bytes | None) -> None:
    assert headers_after(f"Cookie: {cookie}").get(b"cookie") == left


def test_target_can_not_break_the_frames_lines() -> None:
    """The frame is text lines: a target or a value that could end one is refused before it gets there."""
    gate = Gate(published())
    for target in ("/fn/hello?a\rX: y", "/fn/hello?a\nX: y", "/fn/hello?a b", "/fn/hello?\0"):
        assert b" 400 " in gate.request(target)
    assert gate.calls.invocations == []
    gate.request("/fn/hello?%0d%0aX:%20y")
    frame = frames.parse(gate.calls.invocations[0].frame)
    assert frame.head.count(b"X:") == 1
    assert set(block_of(gate.calls.invocations[0])[1]) == {b"host", b"traceparent"}
