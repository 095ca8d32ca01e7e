"""The WSGI dialect, by PEP 3333 and with a real framework."""

from __future__ import annotations

import json

import pytest
from driver import Driver

from wisp.runtime import frames

FLASK = """
from flask import Flask, Response, request, send_file, abort
import io
app = Flask(__name__)

@app.get("/hello/<name>")
def hello(name):
    print("hello", name)
    return {"name": name, "n": request.args.get("n"), "url": request.url, "root": request.script_root,
            "path": request.path, "address": request.remote_addr, "cookies": request.cookies}

@app.post("/echo")
def echo():
    return Response(request.get_data(), mimetype="application/octet-stream")

@app.post("/")
def event():
    return {"type": request.headers["ce-type"], "json": request.get_json()}

@app.get("/stream")
def stream():
    def pieces():
        for n in range(3):
            yield f"{n}"
    return Response(pieces(), mimetype="text/plain")

@app.get("/file")
def file():
    return send_file(io.BytesIO(b"f" * 200_000), mimetype="image/png")

@app.get("/fail")
def fail():
    raise ValueError("no")

@app.get("/ignore")
def ignore():
    return "not read"
app.add_url_rule("/ignore", "post", ignore, methods=["POST"])
"""


@pytest.fixture(scope="module", params=[1, 8], ids=["one at a time", "eight at once"])
def flask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    with Driver(tmp_path_factory.mktemp("flask"), FLASK, concurrency=request.param) as driver:
        driver.ready()
        assert driver.dialect == "wsgi"
        yield driver


def several(driver: Driver) -> bool:
    return bool(driver.settings["concurrency"] > 1)


def test_a_request_and_its_paths(flask: Driver) -> None:
    answer = flask.get("/hello/J%C3%BCrgen?n=5", headers=(("cookie", "a=1"), ("cookie", "b=2")))
    assert answer.json() == {
        "name": "Jürgen",
        "n": "5",
        "url": "http://example.org:8080/fn/demo/hello/Jürgen?n=5",
        "root": "/fn/demo",
        "path": "/hello/Jürgen",
        "address": "127.0.0.1",
        "cookies": {"a": "1", "b": "2"},
    }
    assert answer.log == "hello Jürgen\n".encode()
    assert len(answer.frames) == 1, "a whole answer is one frame"


@pytest.mark.parametrize("size", [0, 10, 65_536, 300_000])
def test_a_body_there_and_back(flask: Driver, size: int) -> None:
    body = bytes(range(250)) * (size // 250 + 1)
    headers = (("content-length", str(size)),)
    number = flask.http("/echo", method="POST", headers=headers, body=body[:size])
    assert flask.outcome(number, window=several(flask)).body == body[:size]


def test_a_body_without_a_length_streams_in(flask: Driver) -> None:
    number = flask.http("/echo", method="POST", headers=(("transfer-encoding", "chunked"),), body=b"a", more=True)
    flask.body(number, b"b", more=True)
    flask.body(number, b"c")
    assert flask.outcome(number).body == b"abc"


def test_a_body_that_nobody_reads_is_no_trouble(flask: Driver) -> None:
    number = flask.http("/ignore", method="POST", body=b"a", more=True)
    assert flask.outcome(number).body == b"not read"
    flask.body(number, b"b" * 100_000)
    assert flask.get("/ignore").body == b"not read"


def test_a_response_streams_out(flask: Driver) -> None:
    assert flask.outcome(flask.http("/stream"), window=several(flask)).pieces == [b"0", b"1", b"2", b""]


def test_a_file(flask: Driver) -> None:
    answer = flask.outcome(flask.http("/file"), window=several(flask))
    assert answer.body == b"f" * 200_000
    assert answer.headers["content-type"] == "image/png"


def test_an_event_is_a_post_in_binary_mode(flask: Driver) -> None:
    headers = (("ce-type", "order.paid"), ("ce-id", "1"), ("ce-source", "/s"), ("content-type", "application/json"))
    assert flask.outcome(flask.event(b'{"a": 1}', headers)).json() == {"type": "order.paid", "json": {"a": 1}}


def test_a_view_that_fails_answers_as_its_framework_does(flask: Driver) -> None:
    answer = flask.get("/fail")
    assert answer.status == 500
    assert b"ValueError: no" in answer.log


RAW = """
import sys, json
from wsgiref.validate import validator

class Closing:
    closed = []
    def __init__(self, name, pieces):
        self.name, self.pieces = name, iter(pieces)
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.pieces)
    def close(self):
        self.closed.append(self.name)

def failing():
    yield b"a"
    raise ValueError("half way")

def app(environ, start_response):
    do = environ["PATH_INFO"][1:]
    if do == "environ":
        shown = {k: v for k, v in environ.items() if isinstance(v, (str, bool, tuple))}
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(shown).encode()]
    if do == "closed":
        start_response("200 OK", [])
        return [repr(Closing.closed).encode()]
    if do == "nothing":
        return []
    if do == "twice":
        start_response("200 OK", []); start_response("200 OK", [])
    if do == "status":
        start_response("OK", [])
        return []
    if do == "evil":
        start_response("200 OK", [("x-evil", "a\\r\\nb: c")])
        return []
    if do == "late":
        def pieces():
            start_response("202 Accepted", [("x", "y")])
            yield b"late"
        return pieces()
    write = start_response("200 OK", [("Content-Length", "4")] if do == "length" else [])
    if do == "write":
        write(b"written "); write(b"then ")
        return [b"returned"]
    if do == "replaced":
        try:
            raise ValueError("x")
        except ValueError:
            start_response("500 Oops", [("x", "replaced")], sys.exc_info())
        return [b"oops"]
    if do == "raise":
        raise KeyboardInterrupt
    if do == "failing":
        return Closing("failing", failing())
    if do == "wrapper":
        import io
        return environ["wsgi.file_wrapper"](io.BytesIO(b"w" * 10), 4)
    if do == "empties":
        return Closing("empties", [b"", b"", b"a", b"", b"b"])
    return Closing(do, [b"ab", b"cd"] if do != "length" else [b"abcd"])

checked = validator(app)
"""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> object:
    with Driver(tmp_path_factory.mktemp("raw"), RAW, dialect="wsgi", handler="main:app") as driver:
        yield driver.ready()


def test_the_environment(raw: Driver) -> None:
    headers = (("X-M", "1"), ("x-m", "2"), ("content-type", "text/x"), ("content-length", "2"), ("a_b", "no"))
    got = json.loads(raw.get("/environ?q=%20", method="POST", headers=headers, body=b"hi").body)
    assert got == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/fn/demo",
        "PATH_INFO": "/environ",
        "QUERY_STRING": "q=%20",
        "REQUEST_URI": "/fn/demo/environ?q=%20",
        "RAW_URI": "/fn/demo/environ?q=%20",
        "SERVER_NAME": "example.org",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "example.org:8080",
        "HTTP_X_M": "1,2",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "2",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.input_terminated": True,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wisp.invocation_id": got["wisp.invocation_id"],
    }


@pytest.mark.parametrize(
    ("do", "status", "body"),
    [
        ("write", 200, b"written then returned"),
        ("replaced", 500, b"oops"),
        ("late", 202, b"late"),
        ("wrapper", 200, b"w" * 10),
        ("empties", 200, b"ab"),
        ("pieces", 200, b"abcd"),
        ("length", 200, b"abcd"),
    ],
)
def test_answers(raw: Driver, do: str, status: int, body: bytes) -> None:
    answer = raw.get(f"/{do}")
    assert (answer.status, answer.body) == (status, body)
    assert not answer.is_error


def test_an_answer_of_known_length_is_one_frame(raw: Driver) -> None:
    assert len(raw.get("/length").frames) == 1
    assert raw.get("/pieces").pieces == [b"ab", b"cd", b""]


def test_iterables_are_closed(raw: Driver) -> None:
    for do in ("pieces", "length", "failing", "empties"):
        raw.get(f"/{do}")
    closed = raw.get("/closed").body.decode()
    for do in ("pieces", "length", "failing", "empties"):
        assert f"'{do}'" in closed


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("nothing", "without calling start_response"),
        ("twice", "twice"),
        ("status", "'OK'"),
        ("evil", "x-evil"),
        ("raise", "KeyboardInterrupt"),
    ],
)
def test_an_application_that_breaks_the_protocol_is_an_error(raw: Driver, do: str, words: str) -> None:
    answer = raw.get(f"/{do}")
    assert answer.is_error
    assert words in answer.block.decode()


def test_failing_half_way_breaks_the_answer_off(raw: Driver) -> None:
    answer = raw.get("/failing")
    assert answer.pieces[0] == b"a"
    assert answer.frames[-1].flags & frames.ERROR


def test_the_standard_librarys_validator_is_content(tmp_path_factory: pytest.TempPathFactory) -> None:
    code = """
    from wsgiref.validate import validator
    def plain(environ, start_response):
        body = environ["wsgi.input"].read(10)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]
    checked = validator(plain)
    """
    with Driver(tmp_path_factory.mktemp("valid"), code, dialect="wsgi", handler="main:checked") as driver:
        answer = driver.ready().get("/", method="POST", headers=(("content-length", "2"),), body=b"hi")
        assert (answer.body, answer.is_error) == (b"hi", False), answer.block
