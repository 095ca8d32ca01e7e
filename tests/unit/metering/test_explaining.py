"""`wisp why`, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from wispd.metering.explaining import explain, slowest
from wispd.model.statistics import Facts, Outcome, Point, Reason, Run, Summary

MS = 1_000_000
MB = 1 << 20


def point(**fields: Any) -> Point:
    zero = dict.fromkeys([name for name in Point.__struct_fields__ if name != "start"], 0)
    return Point(**({"start": ""} | zero | fields))


def summary(*, total: dict[str, Any] | None = None, **fields: Any) -> Summary:
    return Summary(
        **({"function": "f", "since": "1h", "window_s": 3600.0, "total": point(**(total or {"calls": 100}))} | fields)
    )


def kinds(found: list[Reason]) -> list[str]:
    return [reason.kind for reason in found]


def said(summary: Summary) -> str:
    (reason,) = explain(summary)
    return f"{reason.text} → {reason.advice}"


def test_nothing_ran() -> None:
    assert said(summary(total={"calls": 0})).startswith("nothing called it in the last 1h")


def test_nothing_stands_out() -> None:
    found = explain(summary(total={"calls": 100, "cold": 1, "run_p50_ms": 2.5, "run_p95_ms": 4}))
    assert kinds(found) == ["fine"]
    assert "half ran within 2.5 ms" in found[0].text


def test_cold_because_calls_come_less_often_than_an_instance_is_kept() -> None:
    text = said(summary(total={"calls": 15, "cold": 10}, kept_micro_a_month=2_700_000))
    assert text.startswith("67 % of 15 calls started cold: calls come every 4 min, an idle instance is kept for 60 s")
    assert "`instances = { min = 1 }` keeps one ready for 2.70 USD a month" in text


def test_cold_because_calls_come_in_bursts() -> None:
    assert "they come in bursts" in said(summary(total={"calls": 3600, "cold": 720}))


def test_a_single_cold_start_is_nothing() -> None:
    assert kinds(explain(summary(total={"calls": 1, "cold": 1}))) == ["fine"]


def test_imports_that_take_long() -> None:
    runs = tuple(Run(5 * MS, 5 * MS, 1400 * MS, True) for _ in range(3))
    found = explain(summary(facts=Facts(runs=runs)))
    assert kinds(found) == ["init"]
    assert "waited 1.4 s for imports" in found[0].text


def test_slow_because_the_machine_is_full() -> None:
    runs = (
        *(Run(10 * MS, 10 * MS, 0, False) for _ in range(95)),
        *(Run(2100 * MS, 200 * MS, 0, False) for _ in "12345"),
    )
    found = explain(summary(total={"calls": 100, "run_p95_ms": 2100}, facts=Facts(runs=runs)))
    assert kinds(found) == ["cpu"]
    assert "the slowest 5% ran 2.1 s, of which 1.9 s waited for a CPU" in found[0].text
    assert slowest(Facts()) == (0.0, 0.0)


def test_slow_by_itself_and_near_its_timeout() -> None:
    assert "the function's own time" in said(summary(total={"calls": 9, "run_p50_ms": 900, "run_p95_ms": 1500}))
    assert "the timeout is 2 s" in said(summary(total={"calls": 9, "run_p95_ms": 1700}, timeout_s=2.0))


def test_waiting_for_an_instance() -> None:
    text = said(summary(total={"calls": 100, "delay_p95_ms": 400}, maximum=2, waiting=7))
    assert text.startswith("5 % of calls waited 400 ms or longer before they ran; 7 calls wait now")
    assert "at most 2 instances" in text


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"reserved": 5}, "37 calls refused above a limit: its share is 5 calls at once"),
        ({}, "the namespace's limit is 1,000 calls at once"),
        ({"calls_per_minute": 60}, "its quota is 60 calls a minute"),
    ],
)
def test_refused(fields: dict[str, Any], wanted: str) -> None:
    assert wanted in said(summary(total={"calls": 9, "refused": 37}, **fields))


def test_a_spent_budget_and_a_disabled_function_come_first() -> None:
    spent = ("function f", "is spent", "2026-12-01T00:00:00Z")
    found = explain(summary(enabled=False, budgets=(spent,), total={"calls": 9, "refused": 1}))
    assert kinds(found) == ["disabled", "budget", "refused"]
    assert found[1].text == "the budget of function f is spent; it is fresh again at 2026-12-01T00:00:00Z"


def test_out_of_memory() -> None:
    out = Facts(
        outcomes=(Outcome(status="memory_exhausted", code="memory_exhausted", memory_bytes=256 * MB, count=14),)
    )
    grown = said(summary(facts=out, memory_now_bytes=512 * MB))
    assert grown.startswith("14 × memory_exhausted at 256 MB; memory is auto and now 512 MB")
    assert "raise `memory`" in said(summary(facts=out, memory_bytes=256 * MB))
    assert said(summary(total={"calls": 9, "peak_bytes": 250 * MB}, memory_bytes=256 * MB)).startswith(
        "the highest memory was 250 MB of 256 MB"
    )


def test_failures_are_counted_by_code_with_what_was_said() -> None:
    outcomes = (
        Outcome(status="error", code="function_error", memory_bytes=0, count=2, message="KeyError: 'a'\nmore"),
        Outcome(status="error", code="init_failed", memory_bytes=0, count=5, message="no module named x"),
        Outcome(status="timeout", code="timeout", memory_bytes=0, count=3, message="ran longer"),
        Outcome(status="instance_lost", code="instance_lost", memory_bytes=0, count=1, message="exit 1"),
        Outcome(status="ok", code="", memory_bytes=0, count=90),
    )
    found = explain(summary(facts=Facts(outcomes=outcomes)))
    assert kinds(found) == ["timeout", "lost", "error", "error"]
    assert found[2].text == "5 × init_failed of 100 calls: no module named x"
    assert found[3].text == "2 × function_error of 100 calls: KeyError: 'a'"
