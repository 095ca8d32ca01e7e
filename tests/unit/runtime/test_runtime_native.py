"""The native dialect: what a handler gets and what becomes of its result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from driver import Driver

RESULTS = """
import wisp
from dataclasses import dataclass

class Text(str): ...

def pieces(*parts):
    yield from parts

def failing():
    yield "a"
    raise ValueError("half way")

async def asynchronous():
    yield "a"
    yield "b"

async def later():
    return {"later": True}

RESULTS = {
    "none": None, "str": "grüß", "bytes": b"\\x00\\xff", "bytearray": bytearray(b"ab"), "dict": {"ü": [1, 2.5, None]},
    "list": [1, 2], "int": 7, "true": True, "empty": [], "tuple": (1, 2), "Text": Text("t"),
    "response": lambda: wisp.Response({"a": 1}, 201, {"X-One": "1", "x-two": ["a", "b"]}),
    "typed": lambda: wisp.Response("<p>", content_type="text/html"),
    "headertype": lambda: wisp.Response("<p>", headers=[("Content-Type", "text/html")]),
    "responsenone": lambda: wisp.Response(None, 204),
    "generator": lambda: pieces("a", "b", "c"),
    "lines": lambda: pieces({"a": 1}, [2]), "chunks": lambda: pieces(b"a"),
    "nothing": lambda: pieces(), "failing": failing, "asynchronous": asynchronous, "later": later,
    "responsestream": lambda: wisp.Response(pieces("x", "y"), 206, {"k": "v"}, content_type="text/event-stream"),
    "event": lambda: wisp.Event("order.paid", {"n": 1}, source="/shop", id="e1", region="eu"),
    "events": lambda: [wisp.Event("a", id="1"), wisp.Event("b", b"x", id="2")],
    "complex": 1j, "nan": float("nan"), "object": object(), "nested": {"a": {"b": [1j]}}, "surrogate": "\\ud800",
    "badname": lambda: wisp.Response("", headers={"a b": "c"}),
    "newline": lambda: wisp.Response("", headers={"x-evil": "a\\r\\nSet-Cookie: b=c"}),
    "status": lambda: wisp.Response("", 99), "statustext": lambda: wisp.Response("", "200"),
    "manyheaders": lambda: wisp.Response("", headers=[(f"h{n}", "v") for n in range(300)]),
    "longheaders": lambda: wisp.Response("", headers={f"h{n}": "v" * 1000 for n in range(100)}),
}
circle = []
circle.append(circle)
RESULTS["circle"] = circle

def handle(event, context):
    result = RESULTS[event.http.query["r"]]
    return result() if callable(result) else result
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> object:
    with Driver(tmp_path_factory.mktemp("results"), RESULTS) as driver:
        yield driver.ready()


@pytest.mark.parametrize(
    ("name", "status", "content_type", "body"),
    [
        ("none", 204, None, b""),
        ("str", 200, "text/plain; charset=utf-8", "grüß".encode()),
        ("Text", 200, "text/plain; charset=utf-8", b"t"),
        ("bytes", 200, "application/octet-stream", b"\x00\xff"),
        ("bytearray", 200, "application/octet-stream", b"ab"),
        ("dict", 200, "application/json", '{"ü":[1,2.5,null]}'.encode()),
        ("list", 200, "application/json", b"[1,2]"),
        ("tuple", 200, "application/json", b"[1,2]"),
        ("empty", 200, "application/json", b"[]"),
        ("int", 200, "application/json", b"7"),
        ("true", 200, "application/json", b"true"),
        ("later", 200, "application/json", b'{"later":true}'),
        ("response", 201, "application/json", b'{"a":1}'),
        ("typed", 200, "text/html", b"<p>"),
        ("headertype", 200, "text/html", b"<p>"),
        ("responsenone", 204, None, b""),
        ("generator", 200, "text/plain; charset=utf-8", b"abc"),
        ("asynchronous", 200, "text/plain; charset=utf-8", b"ab"),
        ("lines", 200, "application/x-ndjson", b'{"a":1}\n[2]\n'),
        ("chunks", 200, "application/octet-stream", b"a"),
        ("nothing", 200, "application/octet-stream", b""),
        ("responsestream", 206, "text/event-stream", b"xy"),
    ],
)
def test_results(results: Driver, name: str, status: int, content_type: str | None, body: bytes) -> None:
    answer = results.get(f"/?r={name}")
    assert (answer.status, answer.headers.get("content-type"), answer.body) == (status, content_type, body)
    assert not answer.is_error


def test_headers_of_a_response_keep_their_order_and_number(results: Driver) -> None:
    block = results.get("/?r=response").block
    assert block == b"X-One: 1\r\nx-two: a\r\nx-two: b\r\ncontent-type: application/json\r\n"


def test_a_generator_leaves_piece_by_piece(results: Driver) -> None:
    assert results.get("/?r=generator").pieces == [b"a", b"b", b"c", b""]


def test_returned_events_are_a_batch_for_the_platform(results: Driver) -> None:
    answer = results.get("/?r=event")
    assert (answer.status, answer.headers["content-type"]) == (202, "application/cloudevents-batch+json")
    (event,) = answer.json()
    assert event.pop("time")
    assert event == {
        "specversion": "1.0",
        "id": "e1",
        "type": "order.paid",
        "source": "/shop",
        "region": "eu",
        "data": {"n": 1},
    }
    several = results.get("/?r=events").json()
    assert [event["id"] for event in several] == ["1", "2"]
    assert several[1]["data_base64"] == "eA=="


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("complex", "builtins.complex"),
        ("nan", "float"),
        ("object", "builtins.object"),
        ("nested", "builtins.complex"),
        ("circle", "ircular"),
        ("surrogate", "Unicode"),
        ("badname", "'a b'"),
        ("newline", "x-evil"),
        ("status", "99"),
        ("statustext", "'200'"),
        ("manyheaders", "300"),
        ("longheaders", "limit 32768"),
    ],
)
def test_a_result_that_cannot_be_sent_is_an_error_that_names_it(results: Driver, name: str, words: str) -> None:
    answer = results.get(f"/?r={name}")
    assert answer.is_error
    assert words in answer.block.decode()
    assert results.get("/?r=dict").status == 200, "the encoder must not remember the failure"


def test_a_stream_that_fails_breaks_off(results: Driver) -> None:
    answer = results.get("/?r=failing")
    assert answer.is_error
    assert answer.pieces[0] == b"a"
    assert answer.frames[-1].head == b"ValueError: half way"
    assert b"in failing" in answer.frames[-1].body


ECHO = """
def handle(event, context):
    http = event.http
    return {
        "id": event.id, "source": event.source, "type": event.type, "subject": event.subject,
        "time": event.time.isoformat(), "attributes": dict(event.attributes),
        "data": event.data if not isinstance(event.data, bytes) else "bytes:" + event.data.hex(),
        "raw": event.raw.hex(),
        "http": None if http is None else {
            "method": http.method, "path": http.path, "query": http.query.raw, "all": http.query.all("a"),
            "agent": http.headers.get("User-Agent"), "several": http.headers.all("X-M"),
            "joined": http.headers.get("x-m"),
            "body": http.body.hex(), "peer": http.peer, "mount": http.mount,
        },
        "context": {
            "invocation_id": context.invocation_id, "function": context.function, "namespace": context.namespace,
            "version": context.version, "remaining": context.remaining_s(), "deadline": context.deadline > 0,
            "trace": context.trace, "attempt": context.attempt, "log": context.log.name,
        },
    }
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> object:
    with Driver(tmp_path_factory.mktemp("echo"), ECHO) as driver:
        yield driver.ready()


def test_an_http_request_is_an_event(echo: Driver) -> None:
    headers = (
        ("User-Agent", "t"),
        ("X-M", "1"),
        ("x-m", "2"),
        ("traceparent", "00-ab"),
        ("content-type", "text/plain"),
    )
    number = echo.http("/a%20b/c?a=1&a=%C3%BC", method="PUT", headers=headers, body=b"hi", attempt=2)
    got = echo.outcome(number).json()
    hex_id = number.to_bytes(16, "big").hex()
    assert got["http"] == {
        "method": "PUT",
        "path": "/a b/c",
        "query": "a=1&a=%C3%BC",
        "all": ["1", "ü"],
        "agent": "t",
        "several": ["1", "2"],
        "joined": "1, 2",
        "body": b"hi".hex(),
        "peer": "127.0.0.1:4711",
        "mount": "/fn/demo",
    }
    assert (got["type"], got["source"], got["id"]) == ("http.request", "/a b/c", f"inv_{hex_id}")
    assert (got["data"], got["subject"], got["time"]) == ("hi", None, "2025-06-15T15:06:40+00:00")
    context = got["context"]
    assert 0 < context.pop("remaining") <= 30
    assert context == {
        "invocation_id": f"inv_{hex_id}",
        "function": "demo",
        "namespace": "default",
        "version": 3,
        "deadline": True,
        "trace": "00-ab",
        "attempt": 2,
        "log": "demo",
    }


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/problem+json; charset=utf-8", b"[1]", [1]),
        ("text/csv", "ü".encode(), "ü"),
        ("text/plain; charset=latin-1", b"\xfc", "ü"),
        ("image/png", b"\x89", "bytes:89"),
        (None, b"\x01", "bytes:01"),
        ("application/json", b"", None),
    ],
)
def test_data_is_decoded_by_its_type(echo: Driver, content_type: str | None, body: bytes, value: object) -> None:
    headers = (("content-type", content_type),) if content_type else ()
    assert echo.get("/", method="POST", headers=headers, body=body).json()["data"] == value


def test_json_that_is_none_is_the_functions_error(echo: Driver) -> None:
    answer = echo.get("/", method="POST", headers=(("content-type", "application/json"),), body=b"{")
    assert answer.is_error
    assert b"JSONDecodeError" in answer.block


def test_cloudevents_headers_fill_the_attributes(echo: Driver) -> None:
    headers = (
        ("ce-specversion", "1.0"),
        ("ce-id", "42"),
        ("ce-type", "order.created"),
        ("ce-source", "/shop%20a"),
        ("ce-subject", "o1"),
        ("ce-time", "2026-01-02T03:04:05Z"),
        ("ce-region", "eu"),
        ("content-type", "application/json"),
    )
    over_http = echo.get("/x", method="POST", headers=headers, body=b"[1]").json()
    plain = echo.outcome(echo.event(b"[1]", headers[1:])).json()
    for got in (over_http, plain):
        assert (got["id"], got["type"], got["source"], got["subject"]) == ("42", "order.created", "/shop a", "o1")
        assert got["time"] == "2026-01-02T03:04:05+00:00"
        assert got["attributes"]["region"] == "eu"
        assert got["data"] == [1]
    assert over_http["http"]["path"] == "/x"
    assert plain["http"] is None


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 300_000])
def test_bodies_of_any_size_arrive_and_leave(tmp_path: Path, size: int) -> None:
    with Driver(tmp_path, "def handle(event, context): return event.raw[::-1]") as driver:
        driver.ready()
        body = bytes(range(256)) * (size // 256 + 1)
        answer = driver.get("/", method="POST", body=body[:size])
        assert answer.body == body[:size][::-1]
        assert driver.get("/", method="POST", body=b"ab").body == b"ba"


@pytest.mark.parametrize(
    "code",
    [
        "def handle(event, context): return 1",
        "def handle(event): return 1",
        "def handle(): return 1",
        "def handle(*a): return 1",
        "async def handle(event, context): return 1",
        "async def handle(event): return 1",
        "async def handle(): return 1",
        "class H:\n    def __call__(self, event, context): return 1\nhandle = H()",
        "class H:\n    async def __call__(self, event): return 1\nhandle = H()",
        "import functools\ndef f(k, event, context): return k\nhandle = functools.partial(f, 1)",
        "class H:\n    def m(self, event, context): return 1\nhandle = H().m",
        "def handle(event, context, more=None): return 1",
    ],
)
def test_handlers_of_every_shape(tmp_path: Path, code: str) -> None:
    with Driver(tmp_path, code) as driver:
        assert driver.ready().get("/").json() == 1
        assert driver.dialect == "native"


def test_an_async_handler_awaits_and_streams(tmp_path: Path) -> None:
    code = """
    import asyncio
    import wisp
    async def numbers():
        for n in range(3):
            await asyncio.sleep(0)
            yield {"n": n}
    async def handle(event, context):
        if event.http.path == "/stream":
            return numbers()
        if event.http.path == "/plain":
            return (part for part in ("a", "b"))
        if event.http.path == "/big":
            return b"x" * 200_000
        if event.http.path == "/response":
            return wisp.Response(numbers(), 201, content_type="text/x")
        return await asyncio.sleep(0, {"ok": True})
    """
    with Driver(tmp_path, code) as driver:
        driver.ready()
        assert driver.get("/").json() == {"ok": True}
        stream = driver.get("/stream")
        assert [json.loads(piece) for piece in stream.pieces if piece] == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert driver.get("/plain").pieces == [b"a", b"b", b""]
        assert driver.get("/big").body == b"x" * 200_000
        response = driver.get("/response")
        assert (response.status, response.headers["content-type"]) == (201, "text/x")


def test_an_async_generator_function_streams(tmp_path: Path) -> None:
    with Driver(tmp_path, "async def handle(event):\n    yield 'a'\n    yield 'b'") as driver:
        assert driver.ready().get("/").pieces == [b"a", b"b", b""]
