"""App files in an instance: routes, answers, events, asynchronous and plain callables, trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from driver import Driver

from wisp.runtime import frames

JSON = (("content-type", "application/json"),)
SHOP = """
import time
from dataclasses import dataclass
from typing import Annotated
from wisp import App, Body, Cookie, Event, Header, HttpError, Response, call

app = App("shop")

@dataclass
class Order:
    sku: str
    count: int = 1

@app.get("/")
def index(): return "index"

@app.get("/orders/{order_id}")
def order(order_id: int, verbose: bool = False, tag: list[str] = ()):
    if order_id == 404:
        raise HttpError(404, "there is no order 404", headers={"x-why": "gone"}, order=404)
    return {"order_id": order_id, "verbose": verbose, "tag": list(tag)}

@app.post("/orders", status=201)
def make(order: Order) -> Order: return order

@app.delete("/orders/{order_id}")
def remove(order_id: int) -> None: ...

@app.put("/nothing", status=202)
def nothing(): ...

@app.get("/who")
def who(agent: Annotated[str, Header(alias="User-Agent")], session: Annotated[str, Cookie()] = "none"):
    return [agent, session]

@app.post("/raw")
def raw(content: bytes): return content[::-1]

@app.post("/text")
def text(content: Annotated[str, Body()]): return content.upper()

@app.get("/teapot")
def teapot(): return Response("short", 418, {"x-a": "1"})

@app.get("/lines", status=203)
def lines():
    for n in range(3):
        yield f"{n}\\n"

@app.get("/raise")
def fails(): raise RuntimeError("on purpose")

@app.get("/about")
def about(event, context): return [event.http.path, context.function, event.type]

@app.on("order.created", retries=5)
def charge(event): return {"charged": event.data}

@app.on("order.*")
def typed(order: Order): return order

@app.on("plain")
def plain(): return None

@app.on("fails")
def fails_on(): raise HttpError(404, "gone")

@app.every("5m")
def sweep(event: Event, context): return [event.type, context.attempt]
"""
ASYNC = """
import asyncio, threading
from wisp import App, HttpError
app = App("mixed")
both = asyncio.Event()
main = threading.current_thread()

@app.get("/async/{n}")
async def slow(n: int):
    await asyncio.sleep(0)
    if n == 404:
        raise HttpError(404)
    return {"n": n, "main": threading.current_thread() is main}

@app.get("/plain", status=201)
def plain():
    print("plain log")
    return {"main": threading.current_thread() is main}

@app.get("/stream", status=202)
async def stream():
    yield "a"
    await asyncio.sleep(0)
    yield "b"

@app.get("/steps", status=203)
def steps():
    yield "on main\\n" if threading.current_thread() is main else "in a thread\\n"
    yield "done"

@app.get("/wait")
async def wait():
    await both.wait()
    return "met"

@app.get("/meet")
async def meet():
    both.set()
    return "here"

@app.on("up")
async def up(event): return event.id
"""


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    with Driver(tmp_path, SHOP) as driver:
        yield driver.ready()


def test_routes_and_typed_parameters(shop: Driver) -> None:
    assert shop.dialect == "app"
    assert shop.get("/").body == b"index"
    assert shop.get("/orders/7?verbose=yes&tag=a&tag=b").json() == {"order_id": 7, "verbose": True, "tag": ["a", "b"]}
    made = shop.get("/orders", method="POST", headers=JSON, body=b'{"sku": "a", "other": 1}')
    assert (made.status, made.json()) == (201, {"sku": "a", "count": 1})
    assert shop.get("/orders/7", method="DELETE").status == 204
    assert (shop.get("/nothing", method="PUT").status, shop.get("/orders/7/", method="HEAD").status) == (202, 200)
    who = shop.get("/who", headers=(("user-agent", "me"), ("cookie", 'a=b; session="s 1"')))
    assert who.json() == ["me", "s 1"]
    assert shop.get("/raw", method="POST", body=b"\x00\xff").body == b"\xff\x00"
    assert shop.get("/raw", method="POST").status == 200
    assert shop.get("/text", method="POST", body="ä".encode()).body == "Ä".encode()
    teapot = shop.get("/teapot")
    assert (teapot.status, teapot.headers["x-a"]) == (418, "1")
    lines = shop.get("/lines")
    assert (lines.status, lines.body) == (203, b"0\n1\n2\n")
    assert shop.get("/about").json() == ["/about", "demo", "http.request"]
    failed = shop.get("/raise")
    assert failed.is_error
    assert b"on purpose" in failed.block


def test_everything_that_is_wrong_is_told_at_once(shop: Driver) -> None:
    wrong = shop.get("/orders/x?verbose=maybe")
    assert (wrong.status, wrong.headers["content-type"]) == (400, "application/problem+json")
    problem = wrong.json()
    assert (problem["title"], problem["status"]) == ("Bad Request", 400)
    assert problem["errors"] == [
        {"field": "path.order_id", "message": 'expected an integer, got "x"'},
        {"field": "query.verbose", "message": 'expected true or false, got "maybe"'},
    ]
    assert problem["detail"].startswith('path.order_id: expected an integer, got "x"; query.verbose: ')
    twice = shop.get("/orders/1?verbose=1&verbose=0").json()
    assert twice["errors"][0]["message"] == "is given 2 times, expected true or false"
    assert shop.get("/who").json()["errors"] == [
        {"field": "header.user-agent", "message": "is missing, expected text"}
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is missing, expected an object"),
        (b"{", "is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        (b"\xff", "is not UTF-8: invalid start byte at byte 0"),
        (b"[NaN]", 'is not JSON: "NaN" is no value of JSON'),
        (b"[" * 100_000, "is nested too deeply"),
        (b"9" * 5000, None),
        (b"[]", "expected an object, got a list"),
    ],
)
def test_wrong_bodies(shop: Driver, body: bytes, message: str | None) -> None:
    answer = shop.get("/orders", method="POST", headers=JSON, body=body)
    assert answer.status == 400
    assert answer.json()["errors"][0]["field"] == "body"
    assert message is None or answer.json()["errors"][0]["message"] == message
    assert shop.get("/").status == 200


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_body_of_another_type_is_415(shop: Driver, kind: str) -> None:
    headers = (("content-type", kind),) if kind else ()
    answer = shop.get("/orders", method="POST", headers=headers, body=b'{"sku":"a"}')
    assert (answer.status, answer.headers["accept"]) == (415, "application/json")
    good = shop.get(
        "/orders", method="POST", headers=(("content-type", "application/vnd.x+json"),), body=b'{"sku":"a"}'
    )
    assert good.status == 201


def test_what_is_not_there(shop: Driver) -> None:
    assert shop.get("/other").status == 404
    wrong = shop.get("/orders/7", method="PATCH")
    assert (wrong.status, wrong.headers["allow"]) == (405, "DELETE, GET, HEAD")
    options = shop.get("/orders/7", method="OPTIONS")
    assert (options.status, options.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS")
    raised = shop.get("/orders/404")
    assert (raised.status, raised.headers["x-why"]) == (404, "gone")
    assert raised.json() == {
        "type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no order 404", "order": 404,
    }  # fmt: skip


def test_the_document_and_its_page(shop: Driver, tmp_path: Path) -> None:
    document = shop.get("/openapi.json").json()
    assert document["servers"] == [{"url": "/fn/demo"}]
    assert document["info"] == {"title": "shop", "version": "3"}
    assert "/orders/{order_id}" in document["paths"]
    assert shop.get("/docs").headers["content-type"] == "text/html; charset=utf-8"
    assert shop.get("/docs", method="POST").status == 405
    quiet = SHOP.replace('App("shop")', 'App("shop", docs=False)')
    with Driver(tmp_path / "quiet", quiet) as driver:
        driver.ready()
        assert (driver.get("/docs").status, driver.get("/openapi.json").status) == (404, 404)
    own = SHOP + '\n@app.get("/docs")\ndef docs(): return "mine"\n'
    with Driver(tmp_path / "own", own) as driver:
        assert driver.ready().get("/docs").body == b"mine"


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────


def event(driver: Driver, body: bytes = b"", **attributes: str) -> Any:
    return driver.outcome(driver.event(body, headers=(*((f"ce-{k}", v) for k, v in attributes.items()), *JSON)))


def test_events_reach_their_entry_points(shop: Driver) -> None:
    assert event(shop, b'{"a":1}', type="order.created").json() == {"charged": {"a": 1}}
    assert event(shop, b'{"sku":"a"}', type="order.paid").json() == {"sku": "a", "count": 1}
    assert event(shop, type="wisp.timer", subject="sweep").json() == ["wisp.timer", 0]
    assert event(shop, b'{"a":1}', type="other", wispentry="charge").json() == {"charged": {"a": 1}}
    assert event(shop, type="plain").status == 204


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"{}", "nobody", b"no entry point takes events of type 'nobody'; there are charge (order.created)"),
        (
            b'{"count":"x"}',
            "order.x",
            b"the event does not fit typed: data.sku: is missing, expected text; data.count",
        ),
        (b"{", "order.x", b"the event does not fit typed: data: is not what its type"),
        (b"", "order.x", b"the event does not fit typed: data: is missing"),
    ],
)
def test_events_that_nobody_takes_say_why(shop: Driver, body: bytes, kind: str, words: bytes) -> None:
    failed = event(shop, body, type=kind)
    assert failed.is_error
    assert failed.block.startswith(b"error: " + words)
    assert failed.body == b"", "no traceback: nothing of the function went wrong"


def test_an_event_whose_handler_raises_has_failed(shop: Driver) -> None:
    """There is nobody who could read a 404: it must be tried again."""
    failed = event(shop, type="fails")
    assert failed.is_error
    assert failed.block == b"HttpError: 404 gone"


# ── asynchronous and plain ones ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("concurrency", [1, 8])
def test_asynchronous_and_plain_callables_in_one_app(tmp_path: Path, concurrency: int) -> None:
    with Driver(tmp_path, ASYNC, concurrency=concurrency) as driver:
        driver.ready()
        assert driver.get("/async/1").json() == {"n": 1, "main": True}
        assert driver.get("/async/x").status == 400
        assert driver.get("/async/404").status == 404
        plain = driver.get("/plain")
        assert (plain.status, plain.json(), plain.log) == (201, {"main": False}, b"plain log\n")
        stream = driver.get("/stream")
        assert (stream.status, stream.body) == (202, b"ab")
        steps = driver.get("/steps")
        assert (steps.status, steps.body) == (203, b"in a thread\ndone")
        assert event(driver, type="up", id="e1").body == b"e1"
        assert driver.get("/openapi.json").status == 200


def test_calls_of_an_asynchronous_app_run_beside_each_other(tmp_path: Path) -> None:
    with Driver(tmp_path, ASYNC, concurrency=2) as driver:
        driver.ready()
        waiting = driver.http("/wait")
        assert driver.get("/meet").body == b"here"
        assert driver.outcome(waiting).body == b"met"


def test_calls_of_a_plain_app_run_beside_each_other(tmp_path: Path) -> None:
    code = """
    import threading
    from wisp import App
    app = App("x")
    both = threading.Barrier(2)
    @app.get("/meet/{n}")
    def meet(n: int): return both.wait(20) >= 0
    """
    with Driver(tmp_path, code, concurrency=2) as driver:
        driver.ready()
        numbers = [driver.http(f"/meet/{n}") for n in range(2)]
        assert [driver.outcome(number).body for number in numbers] == [b"true", b"true"]


# ── finding it, and trials ──────────────────────────────────────────────────────────────────────────────────────


def test_an_app_comes_before_everything_else(tmp_path: Path) -> None:
    other = "async def app(scope, receive, send): ...\ndef lambda_handler(event, context): ...\n"
    code = "from wisp import App\n" + other + 'site = App("x")\n@site.get("/")\ndef index(): return "app"\n'
    with Driver(tmp_path, code) as driver:
        assert driver.ready().get("/").body == b"app"


@pytest.mark.parametrize(
    ("handler", "dialect", "message"),
    [
        ("main:app", "native", "is an App: leave the dialect out"),
        ("main:index", "app", "is no wisp.App"),
        ("main:app.gone", "", "'shop' has the entry points about, charge"),
    ],
)
def test_wrong_handlers(tmp_path: Path, handler: str, dialect: str, message: str) -> None:
    with Driver(tmp_path, SHOP, handler=handler, dialect=dialect) as driver:
        assert message in driver.failed().head.decode()


def test_one_entry_point_as_a_function_of_its_own(tmp_path: Path) -> None:
    with Driver(tmp_path, SHOP, handler="main:app.charge", describe=True) as driver:
        ready = driver.begin()
        assert [one["name"] for one in json.loads(ready.body)] == ["charge"]
        assert event(driver, b"1", type="order.created").json() == {"charged": 1}
        assert event(driver, b"1", type="order.paid").is_error
        assert driver.get("/").status == 404
    with Driver(tmp_path, handler="main:app.order") as driver:
        assert driver.ready().get("/orders/7").json()["order_id"] == 7
        assert driver.get("/who").status == 404


def test_a_trial_tells_the_entry_points(tmp_path: Path) -> None:
    with Driver(tmp_path, SHOP, describe=True) as driver:
        told = {one["name"]: one for one in json.loads(driver.begin().body)}
        assert told["order"] == {"kind": "route", "name": "order", "methods": ["GET"], "path": "/orders/{order_id}"}
        assert told["charge"] == {"kind": "on", "name": "charge", "type": "order.created", "options": {"retries": 5}}
        assert told["sweep"] == {"kind": "every", "name": "sweep", "schedule": "5m"}
    with Driver(tmp_path, SHOP) as driver:
        assert driver.begin().body == b"", "a start that is no trial tells nothing"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "the app 'x' has no entry points"),
        ("@app.get('/{a}')\ndef f(b: int): ...", "GET /{a} (f): the path has {a}, which is no parameter of f"),
        ("@app.get('/')\ndef f(b: complex): ...", "GET / (f): parameter b: nothing can be read into complex"),
        ("two = App('y')", "main has several Apps: app, two"),
    ],
)
def test_a_trial_finds_what_can_not_be_served(tmp_path: Path, code: str, message: str) -> None:
    with Driver(tmp_path, f"from wisp import App\napp = App('x')\n{code}\n", describe=True) as driver:
        failed = driver.failed()
        assert failed.meta == frames.FAILURE_HANDLER
        assert message in failed.head.decode()


def test_a_wrong_decorator_fails_with_the_line_that_has_it(tmp_path: Path) -> None:
    with Driver(tmp_path, "from wisp import App\napp = App('x')\n@app.every('soon')\ndef f(): ...\n") as driver:
        failed = driver.failed()
        assert failed.meta == frames.FAILURE_IMPORT
        assert b"'soon' is no duration such as 30s, 5m or 1h" in failed.head
        assert b"main.py" in failed.body


def test_entry_points_that_take_too_much_to_tell_are_refused(tmp_path: Path) -> None:
    code = """
    from wisp import App
    app = App("x")
    def f(): ...
    for n in range(400):
        app.on(str(n) + "t" * 200)(f)
    """
    with Driver(tmp_path, code, describe=True) as driver:
        assert b"400 entry points take" in driver.failed().head
