"""A gateway that says what a test wants it to say, on a Unix socket, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

Request = tuple[str, str, dict[str, str], bytes]  # method, target, headers (lower case), body
Answer = tuple[int, dict[str, str], bytes]


class FakeGateway:
    """Answers `/_wisp/*`: trials as `trial` says, invocations with an echo of the request."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "run" / "gateway.sock"
        self.requests: list[Request] = []
        self.trial: Answer = (200, {}, json.dumps({"dialect": "native", "init_ms": 1.5}).encode())
        self.warm: Answer = (200, {}, b'{"ready": 1}')
        self.status: dict[str, Any] = {"launcher": True, "state": "serving"}
        self.metrics = b"wisp_of_the_gateway 1\n"
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        self.path.unlink(missing_ok=True)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request[1].startswith(path)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            request = await _read(reader)
            self.requests.append(request)
            status, headers, body = self._answer(request)
            lines = [f"HTTP/1.1 {status} x", "Connection: close", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        writer.close()

    def _answer(self, request: Request) -> Answer:
        method, target, headers, body = request
        if target == "/_wisp/trial":
            return self.trial
        if target == "/_wisp/warm":
            return self.warm
        if target == "/_wisp/version":
            return 200, {}, b"{}"
        if target == "/_wisp/published":
            return 200, {}, body
        if target == "/_wisp/status":
            return 200, {}, json.dumps(self.status).encode()
        if target == "/_wisp/metrics":
            return 200, {}, self.metrics
        echo = {"method": method, "target": target, "headers": headers, "body": body.decode()}
        return (
            207,
            {"Wisp-Invocation-Id": "inv_1", "Set-Cookie": "a=b", "X-Of": "function"},
            json.dumps(echo).encode(),
        )


def problem(status: int, code: str, detail: str) -> Answer:
    document = {"type": "x", "title": code, "status": status, "detail": detail, "code": code, "found": "handler"}
    return status, {"Content-Type": "application/problem+json"}, json.dumps(document).encode()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        return method, target, headers, await _chunks(reader)
    return method, target, headers, await reader.readexactly(int(headers.get("content-length", "0")))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    content = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        content += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return content
