"""`wisp.call` and `wisp.acall`: frames out, replies in, and events that come in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from driver import Driver

from wisp.runtime import frames

SYNC = """
import threading, wisp
def handle(event, context):
    do = event.http.path[1:]
    if do == "plain":
        return "plain"
    if do == "thread":
        got = []
        threads = [threading.Thread(target=lambda n=n: got.append(wisp.call(f"other{n}", n).data)) for n in range(3)]
        [t.start() for t in threads]; [t.join() for t in threads]
        return sorted(got)
    if do == "timeout":
        wisp.call("slow", timeout_s=0.01)
    if do == "caught":
        try: wisp.call("missing")
        except wisp.CallError as error: return {"code": error.code, "message": error.message}
    if do == "acall":
        import asyncio
        return asyncio.run(wisp.acall("other", 1)).data
    reply = wisp.call("other", event.data, headers={"X-A": "b"})
    return {"status": reply.status, "data": reply.data, "type": reply.headers["content-type"], "size": len(reply.raw)}
"""
ASYNC = """
import asyncio, wisp
async def handle(event, context):
    do = event.http.path[1:]
    if do == "plain":
        return "plain"
    if do == "thread":
        blocking = lambda n: wisp.call(f"other{n}", n).data
        return sorted(await asyncio.gather(*[asyncio.to_thread(blocking, n) for n in range(3)]))
    if do == "timeout":
        await wisp.acall("slow", timeout_s=0.01)
    if do == "caught":
        try: await wisp.acall("missing")
        except wisp.CallError as error: return {"code": error.code, "message": error.message}
    if do == "acall":
        return (await wisp.acall("other", 1)).data
    if do == "blocking":
        wisp.call("other")
    reply = await wisp.acall("other", event.data, headers={"X-A": "b"})
    return {"status": reply.status, "data": reply.data, "type": reply.headers["content-type"], "size": len(reply.raw)}
"""
JSON = (("content-type", "application/json"), ("traceparent", "00-abc"))
JSON_BLOCK = b"content-type: application/json\r\n"


@pytest.fixture(
    scope="module",
    params=[(SYNC, 1), (SYNC, 4), (ASYNC, 1), (ASYNC, 4)],
    ids=["plain", "threads", "async", "multiplexed"],
)
def caller(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    code, concurrency = request.param
    with Driver(tmp_path_factory.mktemp("caller"), code, concurrency=concurrency) as driver:
        yield driver.ready()


def expect_call(driver: Driver) -> frames.Frame:
    return driver.next(lambda one: one.type == frames.CALL)


def test_a_call_goes_out_and_its_reply_comes_back(caller: Driver) -> None:
    number = caller.http("/call", method="POST", headers=JSON, body=b'{"a":1}')
    call = expect_call(caller)
    assert call.call & frames.OWN_CALL
    assert call.meta == frames.OPERATION_INVOKE
    name, _, block = call.head.partition(b"\n")
    lines = block.decode().split("\r\n")
    assert (name, lines[0], lines[-1]) == (b"other", "EVENT / -", "")
    assert set(lines[1:-1]) == {
        "ce-specversion: 1.0",
        "ce-type: wisp.call",
        "ce-source: /",
        "traceparent: 00-abc",
        "x-a: b",
        "content-type: application/json",
    }
    assert call.body == b'{"a":1}'
    caller.send(frames.REPLY, call.call, meta=201, head=JSON_BLOCK, body=b"[7]")
    assert caller.outcome(number).json() == {"status": 201, "data": [7], "type": "application/json", "size": 3}


def test_a_reply_in_pieces(caller: Driver) -> None:
    number = caller.http("/call")
    call = expect_call(caller)
    assert call.body == b""
    caller.send(frames.REPLY, call.call, flags=frames.MORE, meta=200, head=b"content-type: text/plain\r\n", body=b"a")
    caller.body(call.call, b"b" * 100_000)
    assert caller.outcome(number).json()["size"] == 100_001


def test_events_that_come_meanwhile_run_afterwards_in_order(caller: Driver) -> None:
    numbers = [caller.http("/call"), caller.http("/plain"), caller.http("/plain")]
    call = expect_call(caller)
    caller.send(frames.REPLY, call.call, meta=200, head=JSON_BLOCK, body=b"1")
    for number in numbers:
        assert not caller.outcome(number).is_error


def test_an_error_reply_is_an_exception(caller: Driver) -> None:
    number = caller.http("/caught")
    call = expect_call(caller)
    caller.send(frames.REPLY, call.call, flags=frames.ERROR, meta=404, head=b"not_found\nno such function")
    assert caller.outcome(number).json() == {"code": "not_found", "message": "no such function"}


def test_a_call_that_takes_too_long(caller: Driver) -> None:
    number = caller.http("/timeout")
    call = expect_call(caller)
    answer = caller.outcome(number)
    assert answer.block.startswith(b"CallError: timeout: slow did not answer")
    caller.send(frames.REPLY, call.call, meta=200)  # late: nobody waits for it
    assert caller.get("/plain").body == b"plain"


def test_calls_from_threads(caller: Driver) -> None:
    number = caller.http("/thread")
    calls = [expect_call(caller) for _ in range(3)]
    for call in reversed(calls):
        caller.send(frames.REPLY, call.call, meta=200, head=JSON_BLOCK, body=call.body)
    assert caller.outcome(number).json() == [0, 1, 2]
    assert caller.get("/plain").body == b"plain"


def test_acall(caller: Driver) -> None:
    number = caller.http("/acall")
    caller.send(frames.REPLY, expect_call(caller).call, meta=200, head=JSON_BLOCK, body=b"5")
    assert caller.outcome(number).json() == 5


def test_a_blocking_call_on_the_event_loop_is_refused(tmp_path: Path) -> None:
    with Driver(tmp_path, ASYNC) as driver:
        assert b"await wisp.acall" in driver.ready().get("/blocking").block


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("'a/b'", "invalid_argument: 'a/b'"),
        ("'other', b'x' * 65537", "payload_too_large: payload is 65537 bytes, limit 65536"),
        ("'other', headers={'a': 'b\\r\\nc: d'}", "invalid_argument: header 'a'"),
        ("'other', headers={'a': 'b' * 40000}", "invalid_argument: headers are"),
        ("'other', object()", "TypeError"),
    ],
)
def test_a_call_that_cannot_be_sent(tmp_path: Path, arguments: str, words: str) -> None:
    with Driver(tmp_path, f"import wisp\ndef handle(event): wisp.call({arguments})") as driver:
        assert words in driver.ready().get("/").block.decode()


def test_a_call_outside_of_an_invocation_is_refused(tmp_path: Path) -> None:
    code = """
    import threading, wisp
    try: wisp.call("other")
    except wisp.CallError as error: at_import = error.code
    go, done, late = threading.Event(), threading.Event(), []
    def background():
        go.wait()
        try: wisp.call("other")
        except wisp.CallError as error: late.append(error.code)
        done.set()
    def handle(event):
        if event.http.path == "/first":
            threading.Thread(target=background).start()
            return at_import
        go.set(); done.wait()
        return late
    """
    with Driver(tmp_path, code) as driver:
        assert driver.ready().get("/first").body == b"unavailable"
        assert driver.get("/second").json() == ["unavailable"], "its invocation has ended"


def test_payloads_have_their_type(tmp_path: Path) -> None:
    code = """
    import wisp
    def handle(event): return [wisp.call("f", p).status for p in (None, "ü", b"b", [1])]
    """
    with Driver(tmp_path, code) as driver:
        number = driver.ready().http("/")
        seen = []
        for _ in range(4):
            call = expect_call(driver)
            types = [line for line in call.head.split(b"\r\n") if line.startswith(b"content-type")]
            seen.append((types[0][14:] if types else b"", call.body))
            driver.send(frames.REPLY, call.call, meta=204)
        assert seen == [
            (b"", b""),
            (b"text/plain; charset=utf-8", "ü".encode()),
            (b"application/octet-stream", b"b"),
            (b"application/json", b"[1]"),
        ]
        assert json.loads(driver.outcome(number).body) == [204] * 4


@pytest.mark.parametrize("prefix", ["", "async "], ids=["sync", "async"])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_large_body_that_comes_meanwhile_arrives_whole(tmp_path: Path, prefix: str, concurrency: int) -> None:
    """Its frames come while nobody has taken its event yet: whoever reads the link keeps them for it."""
    call = "(await wisp.acall('other'))" if prefix else "wisp.call('other')"
    code = f"""
    import wisp
    {prefix}def handle(event):
        return {call}.data if event.http.path == "/call" else event.http.body
    """
    body = bytes(range(256)) * 1_200  # five frames
    with Driver(tmp_path, code, concurrency=concurrency) as driver:
        driver.ready()
        for _ in range(20):
            calling = driver.http("/call")
            call_frame = expect_call(driver)
            large = driver.http("/", method="POST", body=body)
            driver.send(frames.REPLY, call_frame.call, meta=200, head=JSON_BLOCK, body=b"1")
            assert driver.outcome(large, window=concurrency > 1).body == body
            assert driver.outcome(calling).json() == 1
