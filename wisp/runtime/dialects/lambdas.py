"""The Lambda dialect: `def lambda_handler(event, context)` with the event shapes and context fields of AWS.

Source: AWS Lambda developer guide, "Invoking Lambda function URLs" (payload format 2.0) and "Lambda context object in
Python".
"""

from __future__ import annotations

import json
import os
import time
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

from wisp.runtime.detect import arity, is_async
from wisp.runtime.dialects import Speaker
from wisp.runtime.dialects.requests import peer_of
from wisp.runtime.dialects.results import JSON, block_of, to_plain_json
from wisp.runtime.failures import AnswerError
from wisp.runtime.invocation import Invocation, Request
from wisp.runtime.loader import Loaded
from wisp.runtime.outcomes import Answer
from wisp.runtime.settings import Settings

REGION: Final = "us-east-1"  # what SDKs need to be told something valid
ACCOUNT: Final = "000000000000"
_TEXT_TYPES: Final = ("application/json", "application/javascript", "application/xml")


class Identity:
    """`context.identity`: nobody."""

    cognito_identity_id = None
    cognito_identity_pool_id = None


class LambdaContext:
    """The second argument of a Lambda handler."""

    client_context = None
    identity = Identity()
    tenant_id = None
    function_name = ""
    function_version = ""
    invoked_function_arn = ""
    log_group_name = ""
    log_stream_name = ""
    memory_limit_in_mb = ""

    def __init__(self, invocation: Invocation) -> None:
        self.aws_request_id = str(UUID(bytes=invocation.fields[8]))
        self._deadline_ns = invocation.deadline_ns

    def get_remaining_time_in_millis(self) -> int:
        return max(0, (self._deadline_ns - time.monotonic_ns()) // 1_000_000)

    def log(self, message: object) -> None:
        print(message)


def context_class(settings: Settings) -> type[LambdaContext]:
    """Return the context of this function: what never changes sits on the class."""
    environment = environment_of(settings)
    fixed = {
        "function_name": settings.function,
        "function_version": str(settings.version),
        "invoked_function_arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{settings.function}",
        "log_group_name": environment["AWS_LAMBDA_LOG_GROUP_NAME"],
        "log_stream_name": environment["AWS_LAMBDA_LOG_STREAM_NAME"],
        "memory_limit_in_mb": environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
    }
    return type("LambdaContext", (LambdaContext,), fixed)


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that Lambda's runtimes set."""
    stream = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME") or (
        f"{datetime.now(UTC):%Y/%m/%d}/[{settings.version}]{os.urandom(16).hex()}"
    )
    return {
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory_bytes // 1_048_576),
        "AWS_LAMBDA_FUNCTION_NAME": settings.function,
        "AWS_LAMBDA_FUNCTION_VERSION": str(settings.version),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{settings.function}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_REGION": REGION,
        "LAMBDA_TASK_ROOT": settings.code,
        "_HANDLER": settings.handler,
    }


def looks_like_lambda(settings: Settings) -> bool:
    """Will this be a Lambda handler? Its module may want the environment while it is imported."""
    return settings.dialect == "lambda" or "lambda" in settings.handler


def set_environment(settings: Settings) -> None:
    """Set Lambda's variables; what the function's own settings say stays."""
    for name, value in environment_of(settings).items():
        os.environ.setdefault(name, value)


def speak_lambda(loaded: Loaded, settings: Settings) -> Speaker:
    """Return the speaker of a Lambda handler."""
    set_environment(settings)
    context, target, wanted = context_class(settings), loaded.target, arity(loaded.target)

    def arguments(invocation: Invocation) -> tuple[Any, ...]:
        event = http_event(invocation, settings) if invocation.is_http else _plain_event(invocation)
        return (event, context(invocation))[:wanted]

    if is_async(target):

        async def answer_async(invocation: Invocation) -> Answer:
            return to_answer(await target(*arguments(invocation)), is_http=invocation.is_http)

        return Speaker(answer_async=answer_async)

    def answer(invocation: Invocation) -> Answer:
        return to_answer(target(*arguments(invocation)), is_http=invocation.is_http)

    return Speaker(answer=answer)


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _plain_event(invocation: Invocation) -> Any:
    """Return the JSON value that was sent; text and bytes that are no JSON come as text."""
    body = invocation.body
    if not body:
        return {}
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def http_event(invocation: Invocation, settings: Settings) -> dict[str, Any]:
    """Return an event of payload format 2.0."""
    request = invocation.request
    headers, cookies = _headers(request)
    path, query = request.path.decode("latin-1"), request.query.decode("latin-1")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": _request_context(invocation, settings, headers=headers),
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        event["queryStringParameters"] = _joined(parse_qsl(query, keep_blank_values=True))
    if invocation.body:
        event["body"], event["isBase64Encoded"] = _body(invocation.body, headers.get("content-type", ""))
    return event


def _headers(request: Request) -> tuple[dict[str, str], list[str]]:
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    cookies = [cookie.strip() for name, value in pairs if name == "cookie" for cookie in value.split(";")]
    return _joined([(name, value) for name, value in pairs if name != "cookie"]), [c for c in cookies if c]


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _request_context(invocation: Invocation, settings: Settings, *, headers: dict[str, str]) -> dict[str, Any]:
    request = invocation.request
    host = headers.get("host", "localhost").partition(":")[0]
    received = datetime.fromtimestamp(invocation.received_us / 1e6, UTC)
    return {
        "accountId": ACCOUNT,
        "apiId": settings.function,
        "domainName": host,
        "domainPrefix": host.partition(".")[0],
        "http": {
            "method": request.method,
            "path": request.path.decode("latin-1"),
            "protocol": "HTTP/1.1",
            "sourceIp": peer_of(request.peer)[0],
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": str(UUID(bytes=invocation.fields[8])),
        "routeKey": "$default",
        "stage": "$default",
        "time": f"{received:%d/%b/%Y:%H:%M:%S} +0000",
        "timeEpoch": invocation.received_us // 1000,
    }


def _body(body: bytes, content_type: str) -> tuple[str, bool]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in _TEXT_TYPES or kind.endswith(("+json", "+xml")):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass  # says it is text, and is not: bytes, then
    return b64encode(body).decode("ascii"), True


# ── results ─────────────────────────────────────────────────────────────────────────────────────────────────────


def to_answer(result: Any, *, is_http: bool) -> Answer:
    """Map a result: the response object of AWS, or any JSON value.

    Raises: `AnswerError` for what can't be sent.
    """
    if not is_http:
        return 200, JSON, to_plain_json(result)
    if isinstance(result, dict) and "statusCode" in result:
        return _from_object(result)
    if isinstance(result, str):
        return 200, JSON, result.encode()
    return 200, JSON, to_plain_json(result)


def _from_object(result: dict[str, Any]) -> Answer:
    try:
        status = int(result["statusCode"])
    except (TypeError, ValueError):
        raise AnswerError(f"statusCode is {result['statusCode']!r}, not a number") from None
    pairs = [(str(name), _text(value)) for name, value in (result.get("headers") or {}).items()]
    for name, values in (result.get("multiValueHeaders") or {}).items():
        pairs = [pair for pair in pairs if pair[0].lower() != str(name).lower()]
        pairs += [(str(name), _text(value)) for value in values]
    pairs += [("set-cookie", str(cookie)) for cookie in result.get("cookies") or ()]
    if not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.append(("content-type", "application/json"))
    return status, block_of(pairs), _content(result)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _content(result: dict[str, Any]) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if result.get("isBase64Encoded"):
        try:
            return b64decode(body, validate=True)
        except (TypeError, ValueError) as error:
            raise AnswerError(f"body is not base64, though isBase64Encoded says so: {error}") from None
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else to_plain_json(body)
