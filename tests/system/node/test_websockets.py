"""WebSockets on a real node: FastAPI routes as they are, the `websockets` client, and clients that misbehave."""

from __future__ import annotations

import os
import signal
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from nodes import Node, eventually, gone
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

FASTAPI = """
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
members = []
sent = 0

@app.websocket("/echo")
async def echo(ws: WebSocket):
    await ws.accept(subprotocol=(ws.scope["subprotocols"] or [None])[0])
    try:
        while True:
            message = await ws.receive()
            if message["type"] == "websocket.disconnect":
                break
            await ws.send({**message, "type": "websocket.send"})
    finally:
        print("echo ended with", message.get("code"))

@app.websocket("/room/{name}")
async def room(ws: WebSocket, name: str):
    await ws.accept()
    members.append(ws)
    try:
        async for text in ws.iter_text():
            for member in members:
                await member.send_text(f"{name}: {text}")
    finally:
        members.remove(ws)

@app.websocket("/members-only")
async def members_only(ws: WebSocket):
    await ws.close()

@app.websocket("/flood")
async def flood(ws: WebSocket):
    global sent
    await ws.accept()
    while True:
        await ws.send_bytes(bytes(65536))
        sent += 1

@app.websocket("/fail")
async def fail(ws: WebSocket):
    await ws.accept()
    raise ValueError("on purpose")

@app.get("/sent")
def sent_so_far():
    return sent
"""
HANDSHAKE = (
    b"GET /fn/chat/echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PLAIN = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "%s"})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({**message, "type": "websocket.send"})
        print("disconnect", message["code"])
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-type", b"text/event-stream")]})
        for n in range(8):
            await send({"type": "http.response.body", "body": b"data: %%d\\n\\n" %% n, "more_body": True})
            await asyncio.sleep(0.3)
        await send({"type": "http.response.body", "body": b""})
"""


@pytest.fixture(scope="module")
def chat(shared: Node, layer: Path) -> Node:
    assert shared.deploy("chat", FASTAPI, "--layer", str(layer))["live"]["dialect"] == "asgi"
    return shared


def opened(node: Node, path: str, **given: Any) -> ClientConnection:
    return connect(node.url.replace("http", "ws", 1) + path, proxy=None, compression=None, max_size=None, **given)


def runs(node: Node, name: str) -> list[Any]:
    """The records of a function's WebSockets, the newest first."""
    items = node.json("invocation", "list", "--function", name)["items"]
    return [one for one in items if one["http_status"] == 101]


def test_echo_of_every_kind_and_size_is_one_record(chat: Node) -> None:
    with opened(chat, "/fn/chat/echo", subprotocols=["a", "b"]) as client:  # type: ignore[list-item]
        assert client.subprotocol == "a"
        for message in ("", "grüße", b"\x00\xff", "ü" * 100_000, os.urandom(1_000_000)):
            client.send(message)
            assert client.recv(30) == message
        client.send(["in ", "three ", "fragments"])
        assert client.recv(30) == "in three fragments"
        client.ping().wait(30)
    eventually(lambda: bool(runs(chat, "chat")), "the record")
    record = runs(chat, "chat")[0]
    assert (record["status"], record["trigger"]) == ("ok", "http")
    assert record["bytes_in"] > 1_000_000 < record["bytes_out"]
    assert f"echo ended with {1000}" in chat.cli("logs", "chat").stdout.decode()


def test_clients_of_one_instance_hear_each_other(chat: Node) -> None:
    with opened(chat, "/fn/chat/room/ann") as ann, opened(chat, "/fn/chat/room/bob") as bob:
        ann.send("hello")
        assert (ann.recv(30), bob.recv(30)) == ("ann: hello", "ann: hello")
        bob.send("hi")
        assert (ann.recv(30), bob.recv(30)) == ("bob: hi", "bob: hi")


def test_a_refusal_a_failure_and_a_function_that_is_no_server(chat: Node) -> None:
    with pytest.raises(InvalidStatus) as refused:
        opened(chat, "/fn/chat/members-only")
    assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as native:
        opened(chat, "/fn/hello")
    assert native.value.response.status_code == 501
    with opened(chat, "/fn/chat/fail") as client, pytest.raises(ConnectionClosed) as closed:
        client.recv(30)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "function_error")


def test_too_large_a_message_closes_and_the_application_is_told(chat: Node) -> None:
    with opened(chat, "/fn/chat/echo") as client:
        with suppress(ConnectionClosed):  # it may be closed before all of it is sent
            client.send(bytes(1_100_000))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    eventually(lambda: "echo ended with 1009" in chat.cli("logs", "chat").stdout.decode(), "the disconnect")


def test_a_client_that_is_killed_is_a_disconnect(chat: Node) -> None:
    host, port = chat.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 30) as client:
        client.sendall(HANDSHAKE)
        assert client.recv(65_536).startswith(b"HTTP/1.1 101 ")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, without a word
    eventually(lambda: "echo ended with 1006" in chat.cli("logs", "chat").stdout.decode(), "the disconnect")
    eventually(lambda: runs(chat, "chat")[0]["status"] == "cancelled", "the record")


def test_a_client_that_does_not_read_stops_its_sender_and_nobody_else(chat: Node) -> None:
    with opened(chat, "/fn/chat/flood", max_queue=1) as slow:
        seen = [-1]

        def stands() -> bool:
            seen.append(chat.get("/fn/chat/sent").json())
            return seen[-1] == seen[-2] > 0

        eventually(stands, "the sender waits")
        assert seen[-1] < 1000  # of 64 KiB: what fits into sockets and the window
        with opened(chat, "/fn/chat/echo") as other:
            other.send("still here")
            assert other.recv(30) == "still here"
        for _ in range(seen[-1] + 20):
            assert len(slow.recv(30)) == 65_536
        assert chat.get("/fn/chat/sent").json() > seen[-1]


def test_a_socket_stays_with_its_version_when_the_next_one_is_live(shared: Node) -> None:
    shared.deploy("plain", PLAIN % "one")
    with opened(shared, "/fn/plain") as old:
        assert old.recv(30) == "one"
        shared.deploy("plain", PLAIN % "two")
        with opened(shared, "/fn/plain") as new:
            assert new.recv(30) == "two"
        old.send("still one")
        assert old.recv(30) == "still one"


def test_draining_closes_with_1001_and_streams_outlive_the_timeout(offline: Node) -> None:
    offline.up()
    offline.deploy("plain", PLAIN % "up", "--timeout", "1s")
    assert offline.get("/fn/plain").text.count("data: ") == 8  # for longer than its timeout
    with opened(offline, "/fn/plain") as client:
        assert client.recv(30) == "up"
        pids = offline.pids()
        os.kill(pids[0], signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    eventually(lambda: gone(pids), "all processes are gone")
    offline.up()
    assert "disconnect 1001" in offline.cli("logs", "plain").stdout.decode()
