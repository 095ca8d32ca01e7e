"""The ASGI dialect, by the specification and with a real framework."""

from __future__ import annotations

from pathlib import Path

import pytest
from driver import Driver

from wisp.runtime import frames

FASTAPI = """
import asyncio, os
from contextlib import asynccontextmanager
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

@asynccontextmanager
async def lifespan(app):
    print("starting")
    yield {"pool": "a pool"}
    print("stopping")
    open(os.environ["STOPPED"], "w").close()

app = FastAPI(lifespan=lifespan)

@app.get("/hello/{name}")
async def hello(name: str, request: Request, n: int = 0):
    print("hello", name)
    return {"name": name, "n": n, "url": str(request.url), "root": request.scope["root_path"],
            "path": request.scope["path"], "raw": request.scope["raw_path"].decode(), "client": request.client,
            "link": str(request.url_for("hello", name="x")), "state": request.state.pool}

@app.get("/plain")
def plain():
    print("in a thread")
    return Response("plain", 201, {"x-a": "b"}, "text/x")

@app.post("/echo")
async def echo(request: Request):
    parts = [len(part) async for part in request.stream()]
    return {"size": sum(parts), "parts": len([p for p in parts if p])}

@app.post("/")
async def event(request: Request):
    return {"type": request.headers["ce-type"], "json": await request.json()}

@app.get("/events")
async def events():
    async def numbers():
        for n in range(3):
            yield f"data: {n}\\n\\n"
            await asyncio.sleep(0)
    return StreamingResponse(numbers(), media_type="text/event-stream")

@app.get("/big")
async def big():
    return Response(b"x" * 1_000_000)

@app.get("/fail")
async def fail():
    raise ValueError("no")

@app.get("/missing")
async def missing():
    raise HTTPException(404, "not here")
"""


@pytest.fixture(scope="module", params=[1, 8], ids=["one at a time", "eight at once"])
def fastapi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("fastapi")
    stopped = folder / "stopped"
    with Driver(folder, FASTAPI, concurrency=request.param, env={"STOPPED": str(stopped)}) as driver:
        driver.ready()
        assert driver.dialect == "asgi"
        assert driver.stray[0].body == b"starting\n"
        yield driver
        driver.link.close()
        driver.process.wait(20)
        assert stopped.exists(), "the lifespan's end was not run"


def several(driver: Driver) -> bool:
    return bool(driver.settings["concurrency"] > 1)


def test_a_request_and_its_paths(fastapi: Driver) -> None:
    answer = fastapi.get("/hello/J%C3%BCrgen?n=5")
    assert answer.json() == {
        "name": "Jürgen",
        "n": 5,
        "url": "http://example.org:8080/fn/demo/hello/Jürgen?n=5",
        "root": "/fn/demo",
        "path": "/fn/demo/hello/Jürgen",
        "raw": "/fn/demo/hello/J%C3%BCrgen",
        "client": ["127.0.0.1", 4711],
        "link": "http://example.org:8080/fn/demo/hello/x",
        "state": "a pool",
    }
    assert answer.log == "hello Jürgen\n".encode()
    assert len(answer.frames) == 1, "a whole answer is one frame"


def test_a_plain_function_runs_in_a_thread(fastapi: Driver) -> None:
    answer = fastapi.get("/plain")
    assert (answer.status, answer.headers["x-a"], answer.headers["content-type"]) == (
        201,
        "b",
        "text/x; charset=utf-8",
    )
    assert answer.log == b"in a thread\n"


def test_input_that_does_not_fit_is_refused_by_the_framework(fastapi: Driver) -> None:
    assert fastapi.get("/hello/a?n=x").status == 422
    assert fastapi.get("/missing").json() == {"detail": "not here"}


def test_a_request_body_streams_in(fastapi: Driver) -> None:
    number = fastapi.http("/echo", method="POST", body=b"a" * 10, more=True)
    fastapi.body(number, b"b" * 10, more=True)
    fastapi.body(number, b"c" * 10)
    assert fastapi.outcome(number).json()["size"] == 30
    assert fastapi.get("/echo", method="POST", body=b"z" * 500_000).json()["size"] == 500_000


def test_a_response_streams_out(fastapi: Driver) -> None:
    answer = fastapi.outcome(fastapi.http("/events"), window=several(fastapi))
    assert answer.pieces == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n", b""]
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_large_response(fastapi: Driver) -> None:
    answer = fastapi.outcome(fastapi.http("/big"), window=several(fastapi))
    assert answer.body == b"x" * 1_000_000


def test_an_event_is_a_post_in_binary_mode(fastapi: Driver) -> None:
    headers = (("ce-type", "order.paid"), ("ce-id", "1"), ("ce-source", "/s"), ("content-type", "application/json"))
    assert fastapi.outcome(fastapi.event(b'{"a": 1}', headers)).json() == {"type": "order.paid", "json": {"a": 1}}


def test_an_application_that_fails_answers_as_its_framework_does(fastapi: Driver) -> None:
    """Starlette sends its 500 and raises again: the answer has left by then."""
    answer = fastapi.get("/fail")
    assert answer.status == 500
    assert fastapi.get("/plain").status == 201


RAW = """
import asyncio
log = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    do = scope["path"].removeprefix(scope["root_path"])[1:]
    start = {"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]}
    body = {"type": "http.response.body", "body": b"ok"}
    if do == "scope":
        keys = ["type", "asgi", "http_version", "method", "scheme", "path", "root_path", "server", "extensions"]
        await send(start); await send({**body, "body": repr({k: scope[k] for k in keys}).encode()})
    elif do == "silent":
        pass
    elif do == "raise":
        raise SystemExit(3)
    elif do == "startonly":
        await send(start)
    elif do == "halfway":
        await send(start); await send({**body, "more_body": True}); raise ValueError("half way")
    elif do == "twice":
        await send(start); await send(start)
    elif do == "bodyfirst":
        await send(body)
    elif do == "header":
        await send({**start, "headers": [(b"evil", b"a\\r\\nb: c")]})
    elif do == "after":
        await send(start); await send(body); print("after")
    elif do == "disconnect":
        assert (await receive())["type"] == "http.request"
        await send(start); await send({**body, "more_body": True})
        log.append((await receive())["type"])
        try:
            await send(body)
        except OSError as error:
            log.append(type(error).__name__)
    elif do == "log":
        await send(start); await send({**body, "body": repr(log).encode()})
    elif do == "endless":
        await send(start)
        while True:
            await send({**body, "body": b"x" * 10_000, "more_body": True})
    elif do == "receive":
        first = await receive()
        await send(start); await send({**body, "body": repr(first).encode()})
        log.append((await receive())["type"])
"""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> object:
    with Driver(tmp_path_factory.mktemp("raw"), RAW, concurrency=8) as driver:
        yield driver.ready()


def test_the_scope(raw: Driver) -> None:
    assert eval(raw.get("/scope", method="HEAD").body) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "HEAD",
        "scheme": "http",
        "path": "/fn/demo/scope",
        "root_path": "/fn/demo",
        "server": ("example.org", 8080),
        "extensions": {},
    }


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("silent", "without an answer"),
        ("raise", "SystemExit: 3"),
        ("twice", "http.response.start"),
        ("bodyfirst", "http.response.body"),
        ("header", "evil"),
    ],
)
def test_an_application_that_breaks_the_protocol_is_an_error(raw: Driver, do: str, words: str) -> None:
    answer = raw.get(f"/{do}")
    assert answer.is_error
    assert words in answer.block.decode()


def test_a_start_without_a_body_is_an_empty_answer(raw: Driver) -> None:
    assert (raw.get("/startonly").status, raw.get("/startonly").body) == (200, b"")


def test_failing_half_way_breaks_the_answer_off(raw: Driver) -> None:
    answer = raw.get("/halfway")
    assert answer.pieces[0] == b"ok"
    assert answer.frames[-1].flags & frames.ERROR
    assert answer.frames[-1].head == b"ValueError: half way"


def test_output_after_the_answer_is_the_instances(raw: Driver) -> None:
    assert raw.get("/after").log == b""


def test_a_disconnect_is_told(raw: Driver) -> None:
    number = raw.http("/disconnect")
    first = raw.next(lambda one: one.call == number)
    assert first.flags & frames.MORE
    raw.send(frames.CANCEL, number, meta=frames.CANCEL_DISCONNECTED)
    last = raw.next(lambda one: one.call == number)
    assert not last.flags & frames.MORE
    assert raw.get("/log").body == b"['http.disconnect', 'OSError']"


def test_credit_bounds_what_is_under_way(raw: Driver) -> None:
    number = raw.http("/endless")
    sent = 0
    while sent + 10_000 <= frames.WINDOW_SIZE:
        sent += len(raw.next(lambda one: one.call == number).body)
    raw.get("/startonly")  # a round trip later nothing more has come
    assert not [one for one in raw.waiting if one.call == number]
    raw.send(frames.WINDOW, number, head=frames.WINDOW_HEAD.pack(10_000))
    assert raw.next(lambda one: one.call == number).body == b"x" * 10_000
    raw.send(frames.CANCEL, number, meta=frames.CANCEL_DEADLINE)
    assert raw.next(lambda one: one.call == number and not one.flags & frames.MORE).flags & frames.ERROR


def test_receive_after_the_answer_is_a_disconnect(raw: Driver) -> None:
    assert b"http.request" in raw.get("/receive", method="POST", body=b"hi").body
    assert raw.get("/log").body.endswith(b"'http.disconnect']")


def test_a_failed_startup_is_a_failed_instance(tmp_path: Path) -> None:
    code = """
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})
    """
    with Driver(tmp_path, code) as driver:
        frame = driver.failed()
        assert frame.meta == frames.FAILURE_IMPORT
        assert b"startup failed: no database" in frame.head
