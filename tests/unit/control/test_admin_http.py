"""What the admin listener's HTTP server refuses by itself: as problem documents, and bounded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from wispd.api import admin_protocol
from wispd.api.admin_protocol import HEAD_BYTES_MAX, AdminProtocol

GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def asked(*pieces: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes to a server of the test's own; return the status of the first answer and its document."""

    async def scenario() -> bytes:
        config = uvicorn.Config(
            application, http=AdminProtocol, port=0, lifespan="off", log_level="critical", access_log=False
        )
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
            await writer.drain()
            answer = await reader.readuntil(b"\r\n\r\n")
            body = b"" if b" 204 " in answer else await reader.read()
            writer.close()
            return answer + body
        finally:
            await server.shutdown()

    head, _, body = asyncio.run(scenario()).partition(b"\r\n\r\n")
    if body:
        assert b"content-type: application/problem+json" in head.lower()
        assert b"connection: close" in head.lower() or b" 503 " in head
    return int(head.split(b" ")[1]), json.loads(body) if body else {}


def test_a_request_goes_through() -> None:
    assert asked(GET + b"\r\n")[0] == 204


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01 TLS\r\n\r\n", b"GET\r\n\r\n", GET + b"Content-Length: x\r\n\r\n"])
def test_what_is_no_http_is_refused_with_a_problem(garbage: bytes) -> None:
    status, told = asked(garbage)
    assert (status, told["code"], told["status"]) == (400, "malformed_request", 400)


def test_headers_are_bounded_also_when_they_never_end() -> None:
    endless = GET + b"X-Long: " + b"a" * (HEAD_BYTES_MAX + 1)
    status, told = asked(endless)
    assert (status, told["code"]) == (431, "headers_too_large")
    assert told["limit"] == HEAD_BYTES_MAX


def test_headers_that_do_not_come_are_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_protocol, "HEAD_S", 0.2)
    status, told = asked(GET)  # and never its end
    assert (status, told["code"]) == (408, "request_timeout")


def test_too_many_at_once_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_protocol, "CONNECTIONS_MAX", 0)
    status, told = asked(GET + b"Connection: close\r\n\r\n")
    assert (status, told["code"], told["retryable"]) == (503, "unavailable", True)
