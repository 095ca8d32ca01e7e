"""docs/wire.md says what the code does: its worked example, its limits and its tables."""

from __future__ import annotations

import re

import pytest
from driver import ROOT

from wisp.runtime import frames, logs
from wisp.runtime.dialects import results

TYPES = ("HELLO", "INIT", "READY", "FAILED", "INVOKE", "BODY", "OUTCOME", "LOG", "CANCEL", "WINDOW", "CALL", "REPLY")
PAGE = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")


def dump(name: str) -> bytes:
    block = re.search(rf"```hex {name}\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    return bytes.fromhex("".join(line[6:53] for line in block[1].splitlines()))


def test_the_request_of_the_example() -> None:
    frame = frames.parse(dump("invoke"))
    assert (frame.type, frame.flags, frame.meta, frame.call, frame.body) == (frames.INVOKE, frames.HTTP, 0, 7, b"")
    deadline, received, id_, mount, depth = frames.INVOKE_HEAD.unpack_from(frame.head)
    assert (deadline, received, mount, depth) == (5_000_000_000, 1_750_000_000_000_000, len("/fn/hi"), 0)
    assert id_.hex() == "0197724f4e0070008000000000000007"
    assert frame.head[36:] == b"GET /fn/hi/?a=1 127.0.0.1:4711\r\nhost: localhost:8080\r\n"


def test_the_answer_of_the_example() -> None:
    block, log = b"content-type: text/plain; charset=utf-8\r\n", b"said hi\n"
    head = frames.OUTCOME_HEAD.pack(1_500, 17 * 1_048_576, len(block), len(log), 0) + block + log
    assert dump("outcome") == frames.pack(frames.OUTCOME, 7, meta=200, head=head, body=b"hi")


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("body of one frame", frames.BODY_MAX),
        ("request or response block", frames.BLOCK_MAX),
        ("log in one OUTCOME or LOG", frames.LOG_MAX),
        ("whole packet", frames.PACKET_MAX),
        ("first line of an error", frames.MESSAGE_MAX),
        ("traceback", frames.TRACE_MAX),
        ("one log line (then cut, with a mark)", logs.LINE_MAX),
        ("log of one call (then counted, with a mark)", logs.CALL_MAX),
        ("response headers", results.HEADERS_MAX),
    ],
)
def test_the_limits(words: str, value: int) -> None:
    assert f"| {words} | {value:,} |" in PAGE
    assert f"{frames.WINDOW_SIZE:,} body bytes" in PAGE


def test_the_tables_name_every_type_flag_failure_and_dialect() -> None:
    for type_ in sorted(frames.TYPES):
        (name,) = (name for name in TYPES if getattr(frames, name) == type_)
        assert f"| {type_} | {name} |" in PAGE
    for name in ("MORE", "ERROR", "HTTP", "OPTIONAL"):
        assert f"`0x{getattr(frames, name):02x}` {name}" in PAGE
    for number, name in enumerate(frames.DIALECTS[1:], 1):
        assert f"{number} {name}" in PAGE
    for name in ("IMPORT", "HANDLER", "EXIT", "SETTINGS"):
        assert f"{getattr(frames, 'FAILURE_' + name)} {name.lower()}" in PAGE
    sizes = (frames.HEADER.size, frames.INVOKE_HEAD.size, frames.OUTCOME_HEAD.size)
    assert sizes == (24, 36, 28)
