"""A minimal Lambda runtime API for awslambdaric: HTTP in front, `next` and `response` behind, nothing else.

Source: AWS Lambda developer guide, "Using the Lambda runtime API", version 2018-06-01. It is as small as it can be,
so that what is measured is the runtime client and not this file.

    runtime_api.py FRONT_PORT API_PORT
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque

import httptools
import uvloop

EVENT = json.dumps({"version": "2.0", "rawPath": "/", "headers": {}, "requestContext": {"http": {"method": "GET"}}})


class Exchange:
    """Calls that wait for the runtime, and runtimes that wait for a call."""

    def __init__(self) -> None:
        self.calls: deque[Front] = deque()
        self.idle: deque[Api] = deque()
        self.running: dict[str, Front] = {}
        self.number = 0

    def match(self) -> None:
        while self.calls and self.idle:
            self.number += 1
            name = f"00000000-0000-4000-8000-{self.number:012d}"
            self.running[name] = self.calls.popleft()
            self.idle.popleft().deliver(name)


class Http(asyncio.Protocol):
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.path, self.body = b"", b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.path, self.body = url, b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def answer(self, status: str, body: bytes, extra: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
        if not self.transport.is_closing():
            self.transport.write(head.encode() + body)  # type: ignore[attr-defined]


class Front(Http):
    def on_message_complete(self) -> None:
        self.exchange.calls.append(self)
        self.exchange.match()


class Api(Http):
    def on_message_complete(self) -> None:
        if self.path.endswith(b"/next"):
            self.exchange.idle.append(self)
            self.exchange.match()
            return
        front = self.exchange.running.pop(self.path.split(b"/")[-2].decode(), None)
        if front is not None:
            front.answer("200 OK", self.body)
        self.answer("202 Accepted", b"{}")

    def deliver(self, name: str) -> None:
        headers = {
            "Lambda-Runtime-Aws-Request-Id": name,
            "Lambda-Runtime-Deadline-Ms": "4102444800000",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:local:000000000000:function:bench",
            "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000",
        }
        self.answer("200 OK", EVENT.encode(), "".join(f"{key}: {value}\r\n" for key, value in headers.items()))


async def main(front: int, api: int) -> None:
    exchange = Exchange()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Front(exchange), "127.0.0.1", front)
    server = await loop.create_server(lambda: Api(exchange), "127.0.0.1", api)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
