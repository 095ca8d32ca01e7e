"""Make docs/reference/metrics.md: every metric, from the families that `/metrics` is rendered from."""

from __future__ import annotations

from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from wispd.model.record import RecorderStatus
from wispd.observe.exposition import Family, families
from wispd.observe.metrics import BUCKET_NS, BUCKETS, FUNCTIONS_MAX, VERSIONS_MAX, Gauges, Snapshot

HEAD: Final = f"""# Metrics

<!-- Made from wispd/observe/exposition.py by tools/reference.py; edits here are lost. -->

`GET /metrics` on the admin listener, Prometheus text format, for a token of the node that may look
(`wisp token create --role viewer --node --name prometheus`). Counters begin at 0 when the gateway starts.

Histograms have {BUCKETS} buckets, whose bounds double from {BUCKET_NS / 1000:g} µs. {FUNCTIONS_MAX:,} functions have
a label of their own, the rest counts as `function="_other"`. Of each function {VERSIONS_MAX} versions are counted
apart. Names that callers make up are never labels.

| metric | type | labels | what it is |
|---|---|---|---|
"""


def metrics_page() -> str:
    """Return the page."""
    empty: list[int] = [0] * 65
    snapshot = Snapshot(
        series=[], errors={}, queue=empty, cold_pooled=empty, cold_forked=empty, lag=empty, throttles=0,
        records_dropped=0, log_lines_dropped=0, observer_errors=0, gauges=Gauges(),
    )  # fmt: skip
    return HEAD + "\n".join(sorted(_row(family) for family in families(snapshot, RecorderStatus()))) + "\n"


def _row(family: Family) -> str:
    name = family.name
    if isinstance(family, CounterMetricFamily):
        name += "_total"
    if isinstance(family, HistogramMetricFamily):
        name += "` (`_bucket`, `_sum`, `_count`)`"
    labels = ", ".join(f"`{label}`" for label in family._labelnames)
    return f"| `{name}` | {family.type} | {labels} | {family.documentation} |".replace(")`` |", ") |").replace(
        ")` |", ") |"
    )
