"""Why a function is cold, slow, refused or failing, in sentences with numbers and the next step. Pure.

What is looked at is a `Summary`; each check is one function, and says nothing where nothing stands out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from wispd.model.statistics import Facts, Outcome, Reason, Run, Summary

COLD_SHARE: Final = 0.1  # of all calls, from which cold starts are worth a word
SLOW_INIT_NS: Final = 300_000_000
SLOW_MS: Final = 1000.0
WAITED_MS: Final = 100.0
CPU_SHARE: Final = 0.25  # of the slowest runs, from which waiting for a CPU is the reason
NEAR: Final = 0.8  # of a limit
SLOWEST: Final = 0.05
_MB: Final = 1 << 20


def explain(summary: Summary) -> list[Reason]:
    """Return what stands out, the most urgent first; at least one reason."""
    reasons = [
        *_refusing(summary),
        *_failing(summary),
        *_cold(summary),
        *_slow(summary),
    ]
    if not reasons:
        reasons = [_quiet(summary)]
    return reasons


def _quiet(summary: Summary) -> Reason:
    total = summary.total
    if not total.calls:
        return Reason(
            kind="idle",
            text=f"nothing called it in the last {summary.since}",
            advice=f"`wisp invoke {summary.function}` does; `--since` looks further back",
        )
    text = (
        f"nothing stands out: {_calls(total.calls)}, none failed, {_share(total.cold, total.calls)} started cold, "
        f"half ran within {_ms(total.run_p50_ms)} and 95 % within {_ms(total.run_p95_ms)}"
    )
    return Reason(kind="fine", text=text)


# ── refused ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _refusing(summary: Summary) -> Iterator[Reason]:
    if not summary.enabled:
        yield Reason(
            kind="disabled",
            text="it is disabled: every call is refused",
            advice=f"`wisp enable {summary.function}`",
        )
    for whose, state, resets in summary.budgets:
        yield Reason(
            kind="budget",
            text=f"the budget of {whose} {state}; it is fresh again at {resets}",
            advice="`wisp budget list` shows it, `wisp usage --by day,function` what spent it",
        )
    refused = summary.total.refused
    if refused:
        limits = []
        if summary.reserved >= 0:
            limits.append(f"its share is {summary.reserved:,} calls at once")
        else:
            limits.append(f"the namespace's limit is {summary.concurrency:,} calls at once")
        if summary.calls_per_minute >= 0:
            limits.append(f"its quota is {summary.calls_per_minute:,} calls a minute")
        yield Reason(
            kind="refused",
            text=f"{_calls(refused)} refused above a limit: {', '.join(limits)}",
            advice="make calls shorter, spread them, or let the limit be raised (`wisp quota show`)",
        )


# ── failing ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _failing(summary: Summary) -> Iterator[Reason]:
    outcomes = [one for one in summary.facts.outcomes if one.status != "ok"]
    yield from _memory(summary, [one for one in outcomes if one.status == "memory_exhausted"])
    late = [one for one in outcomes if one.status == "timeout"]
    if late:
        yield Reason(
            kind="timeout",
            text=f"{_sum(late)} × timeout at {summary.timeout_s:g} s: {_said(late)}",
            advice="raise `timeout` if it needs longer; `wisp invocation list --status timeout` lists them",
        )
    lost = [one for one in outcomes if one.status == "instance_lost"]
    if lost:
        yield Reason(
            kind="lost",
            text=f"{_sum(lost)} × instance_lost: {_said(lost)}",
            advice="it ended in the middle of a call: os._exit, a crash in native code, or it was killed",
        )
    errors = [one for one in outcomes if one.status == "error"]
    by_code: dict[str, list[Outcome]] = {}
    for one in errors:
        by_code.setdefault(one.code or "error", []).append(one)
    for code, some in sorted(by_code.items(), key=lambda item: -_sum(item[1])):
        yield Reason(
            kind="error",
            text=f"{_sum(some)} × {code} of {_calls(summary.total.calls)}: {_said(some)}",
            advice=f"`wisp invocation list --function {summary.function} --status error` lists them",
        )


def _memory(summary: Summary, out: list[Outcome]) -> Iterator[Reason]:
    if out:
        sizes = ", ".join(f"{one.count} × memory_exhausted at {one.memory_bytes // _MB} MB" for one in out)
        if summary.memory_bytes:
            yield Reason(kind="memory", text=sizes, advice='raise `memory`, or set `memory = "auto"`')
        elif summary.memory_now_bytes:
            text = f"{sizes}; memory is auto and now {summary.memory_now_bytes // _MB} MB"
            yield Reason(kind="memory", text=text, advice="nothing, unless it goes on: then set `memory`")
        else:
            yield Reason(kind="memory", text=f"{sizes}; memory is auto", advice="call again: it has grown")
        return
    peak = summary.total.peak_bytes
    if summary.memory_bytes and peak > NEAR * summary.memory_bytes:
        text = f"the highest memory was {peak // _MB} MB of {summary.memory_bytes // _MB} MB"
        yield Reason(kind="memory", text=text, advice='raise `memory` before it runs out, or set it to "auto"')


# ── cold ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _cold(summary: Summary) -> Iterator[Reason]:
    total = summary.total
    if total.cold > 1 and total.cold >= COLD_SHARE * total.calls:
        interval_s = summary.window_s / total.calls
        share = f"{_share(total.cold, total.calls)} of {_calls(total.calls)} started cold"
        kept = f"{summary.kept_micro_a_month / 1e6:.2f} {summary.currency} a month"
        warm = f"`instances = {{ min = {summary.minimum + 1} }}` keeps one ready for {kept}"
        if interval_s > summary.idle_s:
            text = (
                f"{share}: calls come every {_time(interval_s)}, an idle instance is kept for {_time(summary.idle_s)}"
            )
            advice = f"{warm}; a longer `idle` costs nothing but memory"
        else:
            text = f"{share} though calls come every {_time(interval_s)}: they come in bursts, or code was deployed"
            advice = f"{warm}; `concurrency` above 1 lets one instance take several"
        yield Reason(kind="cold", text=text, advice=advice)
    inits = sorted(run.init_ns for run in summary.facts.runs if run.cold and run.init_ns)
    if inits and inits[len(inits) // 2] >= SLOW_INIT_NS:
        yield Reason(
            kind="init",
            text=f"half of {len(inits)} cold calls waited {_ms(inits[len(inits) // 2] / 1e6)} for imports to finish",
            advice="import large modules where they are used, or leave out what is not needed",
        )


# ── slow ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _slow(summary: Summary) -> Iterator[Reason]:
    total = summary.total
    slow_ms, waited_ms = slowest(summary.facts)
    if slow_ms >= WAITED_MS and waited_ms >= CPU_SHARE * slow_ms:
        yield Reason(
            kind="cpu",
            text=f"the slowest {SLOWEST:.0%} ran {_ms(slow_ms)}, of which {_ms(waited_ms)} waited for a CPU",
            advice="the machine is full: that wait is not billed, but more cores or fewer calls at once would end it",
        )
    elif total.run_p95_ms >= NEAR * summary.timeout_s * 1000:
        text = f"95 % run within {_ms(total.run_p95_ms)}, and the timeout is {summary.timeout_s:g} s"
        yield Reason(kind="slow", text=text, advice="raise `timeout`, or find out what takes so long (`wisp logs`)")
    elif total.run_p95_ms >= SLOW_MS:
        text = f"half run {_ms(total.run_p50_ms)}, 95 % within {_ms(total.run_p95_ms)}; little of it waits for a CPU"
        yield Reason(kind="slow", text=text, advice="it is the function's own time: what it computes, or waits for")
    if summary.waiting or (total.delay_p95_ms >= WAITED_MS and total.cold < COLD_SHARE * total.calls):
        now = f"; {_calls(summary.waiting)} wait now" if summary.waiting else ""
        yield Reason(
            kind="waiting",
            text=f"5 % of calls waited {_ms(total.delay_p95_ms)} or longer before they ran{now}",
            advice=f"at most {summary.maximum:,} instances may run (`instances.max`); `wisp status` counts them",
        )


def slowest(facts: Facts) -> tuple[float, float]:
    """Return the mean run time of the slowest runs in ms, and how much of it waited for a CPU; zeros for none."""
    runs: list[Run] = sorted(facts.runs, key=lambda run: run.run_ns)
    some = runs[-max(1, int(len(runs) * SLOWEST)) :] if runs else []
    if not some:
        return 0.0, 0.0
    ran, waited = (sum(run.run_ns for run in some), sum(max(run.run_ns - run.billed_ns, 0) for run in some))
    return ran / len(some) / 1e6, waited / len(some) / 1e6


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _sum(outcomes: Iterable[Outcome]) -> int:
    return sum(one.count for one in outcomes)


def _said(outcomes: list[Outcome]) -> str:
    most = max(outcomes, key=lambda one: one.count)
    return most.message.partition("\n")[0][:160] or "no message"


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}".replace("%", " %")


def _ms(milliseconds: float) -> str:
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def _time(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.0f} h"
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
