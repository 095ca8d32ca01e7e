"""How calls are shown while they happen."""

from __future__ import annotations

from typing import Any

from wispd.cli.callines import Shown, Tally, call_lines, cost_micro, local_paths, log_lines

CALL: dict[str, Any] = {
    "kind": "call",
    "function": "hello",
    "received_us": 1_700_000_000_000_000,
    "trigger": "http",
    "method": "GET",
    "path": "/orders/1",
    "status": "ok",
    "http_status": 200,
    "cold": True,
    "elapsed_ms": 12.34,
    "billed_ms": 3,
    "memory_bytes": 256 << 20,
    "error": None,
    "traceback": "",
    "log": "",
}


def plain(call: dict[str, Any], **shown: Any) -> list[str]:
    lines = call_lines(CALL | call, Shown(**({"width": 80} | shown)))
    return ["".join(text for text, _ in spans) for spans in lines]


def test_a_line_says_what_was_called_and_how_it_went() -> None:
    (line,) = plain({})
    for part in ("GET", "/orders/1", "200", "cold", "12.3 ms", "0.213 µ$"):
        assert part in line
    assert len(line) <= 80
    assert "warm" in plain({"cold": False})[0]
    assert "504 timeout" in plain({"status": "timeout", "http_status": 504})[0]
    assert " 12.0 s" in plain({"elapsed_ms": 12_000.0})[0]


def test_a_narrow_terminal_cuts_the_path_and_nothing_else() -> None:
    (line,) = plain({"path": "/" + "x" * 200}, width=60, named=5)
    assert len(line) <= 60
    for part in ("hello", "x…", "200", "cold", "12.3 ms", "µ$"):
        assert part in line


def test_what_a_function_writes_can_not_steer_the_terminal_or_look_like_ours() -> None:
    lines = plain({"log": "\x1b[2Jgone\n23:53:42 GET / 200\n", "path": "/\x1b]0;x\x07", "function": "a\x1bb"})
    assert not [line for line in lines if "\x1b" in line or "\x07" in line]
    assert lines[1:] == ["  │ \\x1b[2Jgone", "  │ 23:53:42 GET / 200"]
    assert next(iter(log_lines({"text": "\x9b31m"})))[1][0] == "\\x9b31m"


def test_a_failure_shows_its_traceback_with_this_machines_paths() -> None:
    trace = 'Traceback (most recent call last):\n  File "/app/hello.py", line 5, in handle\nZeroDivisionError: x\n'
    failed = {"status": "error", "http_status": 502, "traceback": trace, "log": "before\n"}
    lines = plain(failed | {"error": {"code": "function_error", "message": "x"}}, root="/project/")
    assert lines[1] == "  │ before"
    assert '  │   File "/project/hello.py", line 5, in handle' in lines
    silent = plain({"status": "timeout", "error": {"code": "timeout", "message": "ran longer than 30 s"}})
    assert silent[1] == "  │ timeout: ran longer than 30 s"
    assert local_paths(trace, "") == trace


def test_the_summary_adds_up() -> None:
    tally = Tally()
    assert tally.sentence() == "no calls"
    tally.add(CALL)
    tally.add(CALL | {"status": "error", "cold": False, "elapsed_ms": 2.0})
    assert tally.sentence().startswith(
        "2 calls (1 failed, 1 cold), median 7.2 ms, slowest 12.3 ms, billed 6 ms, cost"
    )
    assert tally.document()["calls"] == 2
    assert cost_micro(CALL | {"billed_ms": 0}) == 0.2
