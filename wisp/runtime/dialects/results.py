"""From what a native handler returns to status, header block and body."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from json import encoder as _encoder
from typing import Any, Final

from wisp.event import Event
from wisp.response import Response
from wisp.runtime.failures import AnswerError
from wisp.runtime.outcomes import Answer, Streamed, check_answer

JSON: Final = b"content-type: application/json\r\n"
TEXT: Final = b"content-type: text/plain; charset=utf-8\r\n"
BYTES: Final = b"content-type: application/octet-stream\r\n"
LINES: Final = b"content-type: application/x-ndjson\r\n"
BATCH: Final = b"content-type: application/cloudevents-batch+json\r\n"
NO_CONTENT: Final[Answer] = (204, b"", b"")
HEADERS_MAX: Final = 200  # what the gateway takes

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def _formed(value: object) -> Any:
    from wisp.runtime.jsonforms import form_of

    return form_of(value)


def _refused(value: object) -> Any:
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} has no JSON form")


def _encoding(unknown: Callable[[object], Any]) -> Callable[[object], bytes]:
    """Return a function that returns compact JSON. `unknown` gets what JSON does not know."""

    def slow(value: object, _: int) -> Iterable[str]:
        return [json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=unknown)]

    def made() -> Any:
        make: Any = getattr(_encoder, "c_make_encoder", None)
        text: Any = _encoder.encode_basestring
        # markers, default, encoder, indent, key separator, item separator, sort_keys, skipkeys, allow_nan
        return make({}, unknown, text, None, ":", ",", False, False, False) if make is not None else slow

    encode = made()

    def to_json(value: object) -> bytes:
        """Return compact JSON.

        Raises: `AnswerError`, which names the type that JSON does not know, or NaN, or a circle.
        """
        nonlocal encode
        try:
            return "".join(encode(value, 0)).encode()
        except (TypeError, ValueError, UnicodeEncodeError) as error:
            encode = made()  # one that failed remembers the containers it was in
            raise AnswerError(f"the result is not JSON: {error}") from None
        except BaseException:
            encode = made()
            raise

    return to_json


to_json: Final = _encoding(_formed)
to_plain_json: Final = _encoding(_refused)  # what the json module knows, and no more


def to_answer(result: object) -> Answer:
    """Map a handler's result (the table stands in docs/handlers.md).

    Raises: `AnswerError` for what can't be sent.
    """
    kind = type(result)
    if kind is dict:
        return 200, JSON, to_json(result)
    if kind is str:
        return 200, TEXT, _encoded(result)  # type: ignore[arg-type]
    if result is None:
        return NO_CONTENT
    if isinstance(result, bytes | bytearray | memoryview):
        return 200, BYTES, bytes(result)
    if isinstance(result, Response):
        return _from_response(result)
    if isinstance(result, Event):
        return 202, BATCH, events_json([result])
    if kind is list and result and all(isinstance(item, Event) for item in result):  # type: ignore[attr-defined]
        return 202, BATCH, events_json(result)  # type: ignore[arg-type]
    if isinstance(result, Iterator):
        return _from_iterator(200, result)
    if isinstance(result, str):
        return 200, TEXT, _encoded(result)
    if hasattr(result, "__await__") or hasattr(result, "__anext__"):
        return _awaited(result)
    return 200, JSON, to_json(result)


def _awaited(result: object) -> Answer:
    """Run what a plain function returned though it is asynchronous (a decorator hid the `async`)."""
    from wisp.runtime.dialects.awaiting import pieces_of, value_of

    if hasattr(result, "__anext__"):
        return _from_iterator(200, pieces_of(result))
    return to_answer(value_of(result))


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise AnswerError(f"the result is text that is not Unicode: {error}") from None


def _from_response(response: Response) -> Answer:
    body = response.body
    status = response.status
    block, typed = headers_block(response.headers, response.content_type)
    check_answer(status, block)
    if isinstance(body, Iterator):
        _, stream_block, streamed = _from_iterator(status, body)
        return status, block if typed else block + stream_block, streamed
    _, implied, content = to_answer(body) if not isinstance(body, Response | Event) else _nested(body)
    return status, block if typed else block + implied, content


def _nested(body: object) -> Answer:
    raise AnswerError(f"the response's body is itself of type {type(body).__name__}")


def headers_block(
    headers: Mapping[str, str | list[str]] | Iterable[tuple[str, str]] | None, content_type: str | None = None
) -> tuple[bytes, bool]:
    """Return (header block, whether it says the content type)."""
    if headers is None:
        pairs: list[tuple[str, str]] = []
    elif isinstance(headers, Mapping):
        pairs = [(n, v) for n, found in headers.items() for v in (found if isinstance(found, list) else [found])]
    else:
        pairs = list(headers)
    if content_type is not None:
        pairs = [(name, value) for name, value in pairs if str(name).lower() != "content-type"]
        pairs.append(("content-type", content_type))
    return block_of(pairs), any(str(name).lower() == "content-type" for name, _ in pairs)


def block_of(pairs: list[tuple[str, str]]) -> bytes:
    """Return the header block of checked names and values; raises `AnswerError` naming the header."""
    if len(pairs) > HEADERS_MAX:
        raise AnswerError(f"the response has {len(pairs)} headers, limit {HEADERS_MAX}")
    lines = []
    for name, value in pairs:
        text = value if isinstance(value, str) else str(value)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise AnswerError(f"header name {str(name)[:60]!r} is not allowed")
        if not _VALUE.fullmatch(text):
            raise AnswerError(f"header {name} has a value with characters that are not allowed: {text[:60]!r}")
        lines.append(f"{name}: {text}\r\n")
    return "".join(lines).encode("latin-1")


def _from_iterator(status: int, pieces: Iterator[object]) -> Answer:
    """Pull the first piece: its type says the content type."""
    first = next(pieces, None)
    return status, _stream_type(first), Streamed(first_piece(first), map(to_piece, pieces), pieces)


def _stream_type(first: object) -> bytes:
    return TEXT if isinstance(first, str) else BYTES if first is None or _is_bytes(first) else LINES


def first_piece(first: object) -> bytes:
    """Return the first piece of a stream as bytes; an empty stream (None) has none."""
    return to_piece(first) if first is not None else b""


def response_of_stream(result: object, first: object) -> tuple[int, bytes]:
    """Return (status, header block) of a streamed result whose first piece is known."""
    if not isinstance(result, Response):
        return 200, _stream_type(first)
    block, typed = headers_block(result.headers, result.content_type)
    return result.status, block if typed else block + _stream_type(first)


def _is_bytes(piece: object) -> bool:
    return isinstance(piece, bytes | bytearray | memoryview)


def to_piece(piece: object) -> bytes:
    """Return a streamed piece as bytes: text, bytes, or a JSON value that becomes a line."""
    if isinstance(piece, str):
        return _encoded(piece)
    if _is_bytes(piece):
        return bytes(piece)  # type: ignore[call-overload, no-any-return]
    return to_json(piece) + b"\n"


def events_json(events: list[Event]) -> bytes:
    """Return events in the CloudEvents JSON batch format (JSON event format §4)."""
    return to_json([_structured(event) for event in events])


def _structured(event: Event) -> dict[str, object]:
    from base64 import b64encode

    found: dict[str, object] = {"specversion": "1.0", "id": event.id, "type": event.type, "source": event.source}
    if event.subject is not None:
        found["subject"] = event.subject
    if event.time is not None:
        found["time"] = event.time.isoformat()
    for name, value in event.attributes.items():
        found.setdefault(name, value)
    if _is_bytes(event.data):
        found["data_base64"] = b64encode(event.data).decode("ascii")
    elif event.data is not None:
        found["data"] = event.data
    return found
