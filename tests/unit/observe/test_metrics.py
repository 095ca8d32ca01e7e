"""Counters, and the text Prometheus reads."""

from __future__ import annotations

import math

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from wispd.model.invocation import Status
from wispd.model.record import RecorderStatus
from wispd.observe.exposition import render
from wispd.observe.metrics import FUNCTIONS_MAX, OTHER, GatewayMetrics, Gauges, Snapshot, add, histogram


def _samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_what_is_counted_is_what_is_read() -> None:
    metrics = GatewayMetrics()
    metrics.gauges = lambda: Gauges(
        instances={"ready": 2, "busy": 1}, memory_reserved_bytes=64, memory_budget_bytes=128
    )
    series = metrics.series("default", 'we"ird\n', 1)
    series.statuses[Status.OK] += 3
    for duration_ns in (10_000, 60_000, 10**13):
        add(series.elapsed, duration_ns)
    metrics.error("throttled")
    metrics.loop_lag(-5)
    wire = msgspec.json.encode(metrics.snapshot())  # as it travels from the gateway to the asker
    found = _samples(render(msgspec.json.decode(wire, type=Snapshot), RecorderStatus(segments=4)))

    labels = (("function", 'we"ird\n'), ("namespace", "default"))
    assert found["wisp_invocations_total", (*labels, ("status", "ok"))] == 3
    buckets = {
        float(dict(key)["le"]): count
        for (name, key), count in found.items()
        if name == "wisp_invocation_duration_seconds_bucket"
    }
    assert (buckets[5e-05], buckets[0.0001], buckets[math.inf]) == (1, 2, 3)
    assert found["wisp_invocation_duration_seconds_count", labels] == 3
    assert found["wisp_errors_total", (("code", "throttled"),)] == 1
    assert found["wisp_throttles_total", ()] == 1
    assert found["wisp_instances", (("state", "ready"),)] == 2
    assert found["wisp_memory_reserved_bytes", ()] == 64
    assert found["wisp_event_loop_lag_seconds_count", ()] == 1
    assert found["wisp_cold_starts_total", (("pooled", "true"),)] == 0
    assert found["wisp_records_waiting_segments", ()] == 4
    assert found["wisp_records_dropped_total", ()] == 0


def test_without_a_gateway_the_text_says_so() -> None:
    assert _samples(render(None)) == {("wisp_gateway_up", ()): 0, ("wisp_recorder_up", ()): 0}


def test_labels_are_bounded() -> None:
    metrics = GatewayMetrics()
    for number in range(FUNCTIONS_MAX + 500):
        metrics.series("default", f"f{number}", 1).statuses[Status.OK] += 1
    shot = metrics.snapshot()
    assert len(shot.series) == FUNCTIONS_MAX + 1
    assert shot.series[-1].function == OTHER
    assert shot.series[-1].statuses[Status.OK] == 500
    for number in range(1000):
        metrics.error(f"code{number}")
    assert len(metrics.errors) == 100


def test_buckets_double() -> None:
    counts = histogram()
    for duration_ns in (0, 49_999, 50_000, 99_999, 100_000, 2**63 - 1):
        add(counts, duration_ns)
    assert counts[:3] == [2, 2, 1]
    assert sum(counts[:64]) == 6
