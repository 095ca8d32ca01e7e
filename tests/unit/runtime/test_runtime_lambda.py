"""The Lambda dialect: event shape, context, environment and results as on AWS."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from driver import Driver

CODE = """
import datetime, os
AT_IMPORT = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")

def lambda_handler(event, context):
    do = event.get("queryStringParameters", {}).get("do") if isinstance(event, dict) else None
    if do is None or do == "event":
        return event
    if do == "context":
        return {
            "fields": [context.aws_request_id, context.function_name, context.function_version,
                       context.memory_limit_in_mb, context.invoked_function_arn, context.log_group_name],
            "stream": context.log_stream_name, "left": context.get_remaining_time_in_millis(),
            "none": [context.client_context, context.identity.cognito_identity_id, context.tenant_id],
            "env": [AT_IMPORT, os.environ["_HANDLER"], os.environ["AWS_REGION"], os.environ["LAMBDA_TASK_ROOT"],
                    os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]],
        }
    return {
        "object": {"statusCode": 201, "headers": {"X-A": 1, "x-b": True}, "cookies": ["a=1", "b=2"], "body": "text"},
        "multi": {"statusCode": "200", "headers": {"x-a": "no"}, "multiValueHeaders": {"X-A": ["1", "2"]},
                  "body": {"a": 1}},
        "binary": {"statusCode": 200, "headers": {"content-type": "image/png"},
                   "body": "iQ==", "isBase64Encoded": True},
        "nobody": {"statusCode": 204}, "string": "hello", "list": [1], "none": None,
        "notbase64": {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
        "badstatus": {"statusCode": "abc"}, "evil": {"statusCode": 200, "headers": {"x": "a\\nb: c"}},
        "date": datetime.datetime(2026, 1, 1), "error": None,
    }[do]
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> object:
    settings = {"handler": "main.lambda_handler", "memory_bytes": 268_435_456}
    with Driver(tmp_path_factory.mktemp("lambda"), CODE, **settings) as driver:
        driver.ready()
        assert driver.dialect == "lambda"
        yield driver


def test_an_http_request_has_payload_format_2(served: Driver) -> None:
    headers = (
        ("X-M", "1"),
        ("x-m", "2"),
        ("cookie", "a=1; b=2"),
        ("user-agent", "t"),
        ("content-type", "text/plain"),
    )
    number = served.http("/a%20b/c?x=1&x=2&e=", method="POST", headers=headers, body="ü".encode())
    event = served.outcome(number).json()
    context = event.pop("requestContext")
    assert event == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a%20b/c",
        "rawQueryString": "x=1&x=2&e=",
        "cookies": ["a=1", "b=2"],
        "headers": {"host": "example.org:8080", "x-m": "1,2", "user-agent": "t", "content-type": "text/plain"},
        "queryStringParameters": {"x": "1,2", "e": ""},
        "body": "ü",
        "isBase64Encoded": False,
    }
    assert context == {
        "accountId": "000000000000",
        "apiId": "demo",
        "domainName": "example.org",
        "domainPrefix": "example",
        "http": {
            "method": "POST",
            "path": "/a%20b/c",
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": "t",
        },
        "requestId": f"00000000-0000-0000-0000-{number:012x}",
        "routeKey": "$default",
        "stage": "$default",
        "time": "15/Jun/2025:15:06:40 +0000",
        "timeEpoch": 1_750_000_000_000,
    }


def test_what_is_empty_is_absent(served: Driver) -> None:
    event = served.get("/").json()
    assert not {"body", "cookies", "queryStringParameters"} & event.keys()


@pytest.mark.parametrize("content_type", ["image/png", "application/x-www-form-urlencoded", "text/plain"])
def test_bytes_are_base64(served: Driver, content_type: str) -> None:
    event = served.get("/", method="POST", headers=(("content-type", content_type),), body=b"\xff\x00").json()
    assert (base64.b64decode(event["body"]), event["isBase64Encoded"]) == (b"\xff\x00", True)


@pytest.mark.parametrize("body", [b'{"n": 1}', b"[1, 2]", b'"text"', b"7"])
def test_other_events_are_the_json_value_itself(served: Driver, body: bytes) -> None:
    answer = served.outcome(served.event(body))
    assert answer.json() == __import__("json").loads(body)
    assert answer.headers["content-type"] == "application/json"


def test_an_event_without_a_body_is_an_empty_object(served: Driver) -> None:
    assert served.outcome(served.event()).json() == {}


def test_the_context_and_the_environment(served: Driver) -> None:
    number = served.http("/?do=context")
    got = served.outcome(number).json()
    assert got["fields"] == [
        f"00000000-0000-0000-0000-{number:012x}",
        "demo",
        "3",
        "256",
        "arn:aws:lambda:us-east-1:000000000000:function:demo",
        "/aws/lambda/demo",
    ]
    assert 0 < got["left"] <= 30_000
    assert "[3]" in got["stream"]
    assert got["none"] == [None, None, None]
    folder = served.settings["code"]
    assert got["env"] == ["demo", "main.lambda_handler", "us-east-1", folder, "256", got["stream"]]


@pytest.mark.parametrize(
    ("do", "status", "block", "body"),
    [
        (
            "object",
            201,
            "X-A: 1\r\nx-b: true\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-type: application/json\r\n",
            b"text",
        ),
        ("multi", 200, "X-A: 1\r\nX-A: 2\r\ncontent-type: application/json\r\n", b'{"a":1}'),
        ("binary", 200, "content-type: image/png\r\n", b"\x89"),
        ("nobody", 204, "content-type: application/json\r\n", b""),
        ("string", 200, "content-type: application/json\r\n", b"hello"),
        ("list", 200, "content-type: application/json\r\n", b"[1]"),
        ("none", 200, "content-type: application/json\r\n", b"null"),
    ],
)
def test_results(served: Driver, do: str, status: int, block: str, body: bytes) -> None:
    answer = served.get(f"/?do={do}")
    assert (answer.status, answer.block.decode(), answer.body) == (status, block, body)


@pytest.mark.parametrize(
    ("do", "words"), [("notbase64", "base64"), ("badstatus", "'abc'"), ("evil", "header x"), ("date", "datetime")]
)
def test_results_that_cannot_be_sent(served: Driver, do: str, words: str) -> None:
    answer = served.get(f"/?do={do}")
    assert answer.is_error
    assert words in answer.block.decode()


def test_an_async_lambda_handler_works_too(tmp_path: Path) -> None:
    code = "async def lambda_handler(event, context): return {'statusCode': 202, 'body': 'x'}"
    with Driver(tmp_path, code) as driver:
        answer = driver.ready().get("/")
        assert (answer.status, answer.body) == (202, b"x")


def test_settings_of_the_functions_own_win(tmp_path: Path) -> None:
    code = "import os\ndef lambda_handler(e, c): return os.environ['AWS_REGION']"
    with Driver(tmp_path, code, env={"AWS_REGION": "eu-central-1"}) as driver:
        assert driver.ready().get("/").body == b"eu-central-1"
