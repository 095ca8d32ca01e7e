"""Make docs/reference/limits.md: what is bounded, with the numbers of the code."""

from __future__ import annotations

import importlib
from typing import Final

HEAD: Final = """# Limits

<!-- Made from the constants of the code by tools/reference.py; edits here are lost. -->

Everything that waits, is kept or is sent is bounded. What a node's owner can change is in the
[settings](settings.md) (`[limits]`, `[build]`) or in quotas and budgets ([usage](../usage.md)); what a function can
change is in [wisp.toml](manifest.md). These are the fixed ones. What goes beyond is refused with an
[error](../errors/README.md) that names the limit, or waits, or is left out where the table says so.
"""
# heading → (module, constant, unit, what it bounds)
LIMITS: Final[dict[str, tuple[tuple[str, str, str, str], ...]]] = {
    "Functions and versions": (
        ("wispd.model.function", "MEMORY_START", "bytes", 'memory that `"auto"` begins with'),
        ("wispd.model.function", "MEMORY_CAP", "bytes", "memory of an instance at most"),
        ("wispd.control.declaration", "MEMORY_MIN", "bytes", "memory of an instance at least"),
        ("wispd.control.declaration", "TIMEOUT_MAX_S", "s", "timeout of a call"),
        ("wispd.control.declaration", "IDLE_MAX_S", "s", "idle time of an instance"),
        ("wispd.control.declaration", "CONCURRENCY_MAX", "", "calls that one instance carries at once"),
        ("wispd.control.declaration", "VERSIONS_KEPT_MAX", "", "versions kept, as a function may ask for"),
        ("wispd.control.fields", "ENV_MAX", "", "variables of the environment"),
        ("wispd.control.fields", "ENV_BYTES_MAX", "bytes", "names and values of them together"),
        ("wispd.control.fields", "LABELS_MAX", "", "labels"),
        ("wispd.control.fields", "ROUTES_MAX", "", "routes of a function"),
        ("wispd.control.fields", "SECRETS_MAX", "", "secrets of a function"),
        ("wispd.control.fields", "ALLOW_MAX", "", "opened private addresses"),
        ("wispd.model.entry", "ENTRIES_MAX", "", "entry points of an App"),
        ("wispd.model.alias", "SHARES_MAX", "", "versions that one alias divides its calls among"),
        ("wispd.model.alias", "WEIGHT_MAX", "", "weight of a version"),
        ("wispd.model.rollout", "STEPS_MAX", "", "steps of a rollout"),
        ("wispd.model.rollout", "EVERY_MAX_S", "s", "length of a step"),
        ("wispd.control.deployments", "TRIALS_MAX", "", "trials of new versions at once; more wait"),
    ),
    "Calls": (
        ("wispd.gateway.hostcalls", "DEPTH_MAX", "", "functions calling each other in a chain; then `loop_detected`"),
        ("wispd.gateway.hostcalls", "OPEN_MAX", "", "`wisp.call`s that one instance has open"),
        ("wispd.autoscaler.scaling", "BURST_MAX", "", "instances of one version started at once; more wait"),
        ("wispd.autoscaler.loop", "SCRATCH_MAX", "bytes", "scratch space of an instance, and half of its memory"),
        (
            "wispd.gateway.http1_limits",
            "PIPELINE_MAX",
            "",
            "pipelined requests answered before others get their turn",
        ),
        ("wispd.observe.observer", "LOG_MAX", "bytes", "log that is kept of one call"),
        ("wispd.observe.observer", "TRACE_MAX", "bytes", "traceback that is kept of one call"),
    ),
    "Secrets": (
        ("wispd.model.secret", "VALUE_BYTES_MAX", "bytes", "one value"),
        ("wispd.model.secret", "PER_NAMESPACE_MAX", "", "secrets of a namespace"),
        ("wispd.gateway.masking", "MASKED_BYTES_MIN", "bytes", "shorter values are not masked in logs"),
    ),
    "Builds and uploads": (
        ("wispd.control.buildsource", "FILE_BYTES_MAX", "bytes", "a file that names dependencies"),
        ("wispd.control.builder", "WAITING_MAX", "", "builds that wait for their turn"),
        ("wispd.control.archive", "NAME_MAX", "", "characters of a path in a zip"),
        ("wispd.control.archive", "PARTS_MAX", "", "folders in a path"),
    ),
    "Control API": (
        ("wispd.api.querying", "PAGE_MAX", "", "entries of one page of a list"),
        ("wispd.api.admin_guard", "DOCUMENT_MAX", "bytes", "a JSON body"),
        ("wispd.api.admin_protocol", "HEAD_BYTES_MAX", "bytes", "request line and headers"),
        ("wispd.api.admin_protocol", "CONNECTIONS_MAX", "", "connections"),
        ("wispd.api.admin_records", "FOLLOWERS_MAX", "", "logs that are followed at once"),
        ("wispd.observe.live", "WATCHERS_MAX", "", "watchers of live calls (`wisp run`, `wisp dev`)"),
        ("wispd.metering.statistics", "STEPS_MAX", "", "points of a series"),
        ("wispd.control.limits", "THRESHOLDS_MAX", "", "warnings of a budget"),
    ),
}


def limits_page() -> str:
    """Return the page. Raises: AttributeError for a constant that is gone."""
    parts = [HEAD]
    for heading, rows in LIMITS.items():
        parts.append(f"\n## {heading}\n\n| limit | what it bounds |\n|---:|---|\n")
        for module, constant, unit, text in rows:
            value = getattr(importlib.import_module(module), constant)
            parts.append(f"| {shown(value, unit)} | {text} |\n")
    return "".join(parts)


def shown(value: float, unit: str) -> str:
    """Return a number as people read it."""
    if unit == "bytes":
        for size, word in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
            if value >= size and value % size == 0:
                return f"{int(value) // size} {word}"
    return f"{value:,g} {unit}".strip() if value < 1e6 else f"{value:,.0f} {unit}".strip()
