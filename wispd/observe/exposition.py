"""From a gateway's snapshot to Prometheus text. Runs in the process that is asked, never in the gateway."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from wispd.model.invocation import Status
from wispd.model.record import RecorderStatus
from wispd.observe.metrics import BUCKET_NS, BUCKETS, SUM, Histogram, Snapshot

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUDGETS_MAX: Final = 1000  # with a label of their own
_BOUNDS: Final = tuple(str(BUCKET_NS * 2**index / 1e9) for index in range(BUCKETS))


def render(snapshot: Snapshot | None, recorder: RecorderStatus | None = None) -> bytes:
    """Return the text of `/metrics`. No snapshot: the gateway is down, and the text says so."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot, recorder))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot | None, recorder: RecorderStatus | None) -> None:
        self._snapshot = snapshot
        self._recorder = recorder

    def collect(self) -> Iterator[Family]:
        return families(self._snapshot, self._recorder)


def families(snapshot: Snapshot | None, recorder: RecorderStatus | None) -> Iterator[Family]:
    """Yield every metric with its help, its labels and what it counts now."""
    yield _gauge("wisp_gateway_up", "Does the gateway answer?", int(snapshot is not None))
    yield _gauge("wisp_recorder_up", "Does the recorder answer?", int(recorder is not None))
    if snapshot is not None:
        yield from _invocations(snapshot)
        yield from _instances(snapshot)
        yield from _losses(snapshot)
        yield from _budgets(snapshot)
    if recorder is not None:
        yield _gauge("wisp_records_waiting_segments", "Segments not yet indexed", recorder.segments)
        yield _gauge("wisp_recorder_ok", "Is recording going on?", int(recorder.state == "ok"))


def _invocations(snapshot: Snapshot) -> Iterable[Family]:
    calls = CounterMetricFamily(
        "wisp_invocations", "Invocations that ended", labels=("namespace", "function", "status")
    )
    duration = HistogramMetricFamily(
        "wisp_invocation_duration_seconds", "From receipt to the end of the answer", labels=("namespace", "function")
    )
    for series in snapshot.series:
        for status in Status:
            if series.statuses[status]:
                calls.add_metric((series.namespace, series.function, status.word), series.statuses[status])
        buckets, sum_s = _buckets(series.elapsed)
        duration.add_metric((series.namespace, series.function), buckets, sum_s)
    versions = CounterMetricFamily(
        "wisp_version_invocations",
        "Invocations of functions that several versions were called of; version 0: the older ones",
        labels=("namespace", "function", "version", "status"),
    )
    for series in snapshot.versions:
        for status in Status:
            if series.statuses[status]:
                labels = (series.namespace, series.function, str(series.version), status.word)
                versions.add_metric(labels, series.statuses[status])
    errors = CounterMetricFamily("wisp_errors", "Errors by code, refusals included", labels=("code",))
    for code, count in snapshot.errors.items():
        errors.add_metric((code,), count)
    throttles = CounterMetricFamily("wisp_throttles", "Calls refused above the concurrency limit")
    throttles.add_metric((), snapshot.throttles)
    return calls, duration, versions, errors, throttles


def _instances(snapshot: Snapshot) -> Iterable[Family]:
    starts = CounterMetricFamily("wisp_cold_starts", "Instances that became ready", labels=("pooled",))
    seconds = HistogramMetricFamily("wisp_cold_start_seconds", "From the start to ready", labels=("pooled",))
    for word, histogram in (("true", snapshot.cold_pooled), ("false", snapshot.cold_forked)):
        starts.add_metric((word,), sum(histogram[:SUM]))
        seconds.add_metric((word,), *_buckets(histogram))
    instances = GaugeMetricFamily("wisp_instances", "Instances by state", labels=("state",))
    for state, count in snapshot.gauges.instances.items():
        instances.add_metric((state,), count)
    gauges = snapshot.gauges
    return (
        starts,
        seconds,
        instances,
        _gauge("wisp_memory_reserved_bytes", "Memory instances count for", gauges.memory_reserved_bytes),
        _gauge("wisp_memory_budget_bytes", "Memory instances may count for", gauges.memory_budget_bytes),
        _histogram("wisp_queue_wait_seconds", "Time without a slot", snapshot.queue),
        _histogram("wisp_event_loop_lag_seconds", "How late timers of the event loop come", snapshot.lag),
    )


def _losses(snapshot: Snapshot) -> Iterable[Family]:
    for name, text, count in (
        ("wisp_records_dropped", "Records that could not be written", snapshot.records_dropped),
        ("wisp_log_lines_dropped", "Log lines above the limits", snapshot.log_lines_dropped),
        ("wisp_observer_errors", "Records that could not be made", snapshot.observer_errors),
    ):
        family = CounterMetricFamily(name, text)
        family.add_metric((), count)
        yield family


def _budgets(snapshot: Snapshot) -> Iterable[Family]:
    labels = ("namespace", "function", "period")
    ratio = GaugeMetricFamily("wisp_budget_spent_ratio", "Part of a budget that is spent", labels=labels)
    refused = CounterMetricFamily("wisp_budget_refused", "Calls that a budget did not let in", labels=labels)
    for one in snapshot.budgets[:_BUDGETS_MAX]:
        key = (one.namespace, one.function, one.period)
        ratio.add_metric(key, one.spent_micro / one.limit_micro if one.limit_micro else 1.0)
        refused.add_metric(key, one.refused)
    return ratio, refused


def _gauge(name: str, text: str, number: int) -> Family:
    return GaugeMetricFamily(name, text, value=number)


def _histogram(name: str, text: str, histogram: Histogram) -> Family:
    family = HistogramMetricFamily(name, text)
    family.add_metric((), *_buckets(histogram))
    return family


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative buckets by upper bound in seconds, and the sum in seconds."""
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip(_BOUNDS, histogram, strict=False):
        total += count
        buckets.append((bound, float(total)))
    buckets.append(("+Inf", float(sum(histogram[:SUM]))))
    return buckets, histogram[SUM] / 1e9
