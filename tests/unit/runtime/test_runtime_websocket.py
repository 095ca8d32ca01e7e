"""WebSockets of ASGI applications, seen from the link: what the application is told, and what it may say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from driver import Driver

from wisp.runtime import frames
from wisp.runtime.messages import BINARY, CLOSE, GOES_ON, PART, TEXT, PartReader, pack_close, pack_part, parse_close

APP = """
import json

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"http"})
        return
    what = scope["path"].rpartition("/")[2]
    assert (await receive())["type"] == "websocket.connect"
    if what == "refuse":
        await send({"type": "websocket.close", "code": 4000})
        return
    if what == "denial":
        await send({"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-a", b"1")]})
        await send({"type": "websocket.http.response.body", "body": b"tea"})
        return
    if what == "silent":
        return
    if what == "early":
        await send({"type": "websocket.send", "text": "x"})
    if what == "raise":
        raise ValueError("before")
    await send({"type": "websocket.accept", "subprotocol": "c" if what == "wrong" else None,
                "headers": [(b"X-Path", scope["path"].encode())]})
    if what == "raise-later":
        raise ValueError("after")
    if what == "close":
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        print(await receive())
        return
    if what == "code":
        await send({"type": "websocket.close", "code": 1005})
    if what == "scope":
        keep = ("type", "scheme", "root_path", "subprotocols", "query_string", "client")
        await send({"type": "websocket.send", "text": json.dumps({k: str(scope[k]) for k in keep})})
    while True:
        message = await receive()
        print(message["type"], message.get("code"), message.get("reason"))
        if message["type"] == "websocket.disconnect":
            try:
                await send({"type": "websocket.send", "text": "too late"})
            except OSError as error:
                print("send:", error)
            return
        await send({**message, "type": "websocket.send"})
"""


@pytest.fixture(scope="module", params=[64, 1], ids=["multiplexed", "one at a time"])
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with Driver(tmp_path_factory.mktemp("app"), APP, concurrency=request.param).ready() as driver:
        yield driver


def opened(driver: Driver, what: str, *headers: tuple[str, str]) -> int:
    mount = driver.settings["mount"]
    lines = [f"GET {mount}/{what}?q=1 10.0.0.7:4711", "host: example.org", *(f"{n}: {v}" for n, v in headers), ""]
    flags = frames.HTTP | frames.WEBSOCKET
    return driver.invoke("\r\n".join(lines), flags=flags, mount=len(mount), more=True)


def accepted(driver: Driver, what: str, *headers: tuple[str, str]) -> int:
    number = opened(driver, what, *headers)
    frame = driver.next(lambda one: one.call == number and one.type == frames.OUTCOME)
    assert (frame.meta, frame.flags) == (101, frames.MORE)
    return number


def next_message(driver: Driver, number: int) -> tuple[int, bytes]:
    reader, whole = PartReader(), b""
    while True:
        frame = driver.next(lambda one: one.call == number and one.type == frames.BODY)
        if driver.settings["concurrency"] > 1:
            driver.send(frames.WINDOW, number, head=frames.WINDOW_HEAD.pack(len(frame.body)))
        reader.feed(frame.body)
        for part in iter(reader.take, None):
            whole += part.body
            if part.last:
                return part.kind, whole


def end_of(driver: Driver, number: int) -> tuple[frames.Frame, str]:
    last = driver.next(lambda one: one.call == number and one.type == frames.BODY and not one.flags & frames.MORE)
    log = b"".join(one.body for one in driver.waiting if one.type == frames.LOG and one.call == number)
    return last, log.decode()


def test_messages_are_echoed_whatever_way_they_are_cut(instance: Driver) -> None:
    number = accepted(instance, "echo")
    instance.body(number, pack_part(TEXT, "grüße".encode()), more=True)
    assert next_message(instance, number) == (TEXT, "grüße".encode())
    large = bytes(range(256)) * 400
    instance.body(number, pack_part(BINARY, large[:70_000], last=False), more=True)
    instance.body(number, pack_part(BINARY, large[70_000:]), more=True)
    assert next_message(instance, number) == (BINARY, large)
    packed = pack_part(TEXT, b"a") + pack_part(TEXT, b"b")
    for index in range(len(packed)):
        instance.body(number, packed[index : index + 1], more=True)
    assert [next_message(instance, number)[1] for _ in range(2)] == [b"a", b"b"]
    instance.body(number, pack_close(4000, "bye"))
    last, log = end_of(instance, number)
    assert last.flags == 0
    assert "websocket.disconnect 4000 bye" in log
    assert "send: the client is gone" in log


def test_the_scope(instance: Driver) -> None:
    number = accepted(instance, "scope", ("sec-websocket-protocol", "a, b"))
    scope = json.loads(next_message(instance, number)[1])
    assert scope == {
        "type": "websocket",
        "scheme": "ws",
        "root_path": "/fn/demo",
        "subprotocols": "['a', 'b']",
        "query_string": "b'q=1'",
        "client": "('10.0.0.7', 4711)",
    }
    instance.body(number, pack_close(1001, ""))
    end_of(instance, number)


@pytest.mark.parametrize(("what", "wanted", "body"), [("refuse", 403, b""), ("denial", 418, b"tea")])
def test_a_refusal_is_an_answer_like_any(instance: Driver, what: str, wanted: int, body: bytes) -> None:
    answer = instance.outcome(opened(instance, what))
    assert (answer.status, answer.body, answer.is_error) == (wanted, body, False)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("silent", "returned without an answer"),
        ("early", "'websocket.send' has no place here"),
        ("raise", "ValueError: before"),
        ("wrong", "subprotocol 'c' was not offered"),
    ],
)
def test_what_goes_wrong_before_the_acceptance_is_an_error(instance: Driver, what: str, said: str) -> None:
    answer = instance.outcome(opened(instance, what, ("sec-websocket-protocol", "a")))
    assert answer.is_error
    assert said in answer.block.decode()


@pytest.mark.parametrize(("what", "said"), [("raise-later", b"ValueError: after"), ("code", b"close code 1005")])
def test_what_goes_wrong_later_breaks_off(instance: Driver, what: str, said: bytes) -> None:
    last, _ = end_of(instance, accepted(instance, what))
    assert last.flags & frames.ERROR
    assert said in last.head


def test_the_application_closes(instance: Driver) -> None:
    number = accepted(instance, "close")
    kind, body = next_message(instance, number)
    assert (kind, parse_close(body)) == (CLOSE, (4001, "enough"))
    instance.body(number, pack_close(4001, "enough"))
    last, log = end_of(instance, number)
    assert (last.flags, last.body) == (0, b"")
    assert "'code': 4001" in log


def test_a_client_that_vanished_is_a_disconnect(instance: Driver) -> None:
    number = accepted(instance, "echo")
    instance.send(frames.CANCEL, number, meta=frames.CANCEL_DISCONNECTED)
    _, log = end_of(instance, number)
    assert "websocket.disconnect 1006" in log


def test_http_goes_on_beside_it(instance: Driver) -> None:
    if instance.settings["concurrency"] == 1:
        assert instance.get("/").body == b"http"
        return
    number = accepted(instance, "echo")
    assert instance.get("/").body == b"http"
    instance.body(number, PART.pack(TEXT | GOES_ON, 1) + b"x" + pack_close(1009, ""))
    _, log = end_of(instance, number)
    assert "websocket.disconnect 1009" in log


def test_a_call_from_an_endless_stream_is_not_cut_by_its_first_deadline(tmp_path: Path) -> None:
    code = """
    import asyncio, wisp
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        reply = await wisp.acall("other", {})
        await send({"type": "websocket.send", "bytes": reply.raw})
    """
    with Driver(tmp_path / "app", code, concurrency=64).ready() as driver:
        mount = driver.settings["mount"]
        number = driver.invoke(
            f"GET {mount}/x -\r\n",
            flags=frames.HTTP | frames.WEBSOCKET,
            mount=len(mount),
            more=True,
            deadline_s=0.001,
        )
        driver.body(number, pack_part(TEXT, b"go"), more=True)
        call = driver.next(lambda one: one.type == frames.CALL)
        driver.send(frames.REPLY, call.call, meta=200, body=b"there")
        assert next_message(driver, number) == (BINARY, b"there")
        driver.body(number, pack_close(1000, ""))
