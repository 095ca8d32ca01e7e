"""What is kept of an invocation after it ended: its record, its log lines, and the usage it folds into.

Every admitted invocation leaves one `InvocationRecord`. Times are Unix microseconds (`…_us`) or milliseconds with
fractions (`…_ms`); `billed_ms` is whole milliseconds, rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from wispd.model.invocation import Status, Trigger
from wispd.model.profile import Profile

STATUS_WORDS: Final = {int(status): status.word for status in Status}
TRIGGER_WORDS: Final = {int(trigger): trigger.name.lower() for trigger in Trigger}
STATUS_NUMBERS: Final = {word: number for number, word in STATUS_WORDS.items()}


def time_text(unix_us: int) -> str:
    """Return a time as RFC 3339 in UTC with microseconds."""
    return datetime.fromtimestamp(unix_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{unix_us % 1_000_000:06d}Z"


class RecordedError(Struct, frozen=True, kw_only=True):
    """Why an invocation failed."""

    code: str
    message: str


class LogLine(Struct, frozen=True, kw_only=True):
    """A piece of log text: one or more lines that arrived together."""

    cursor: int  # greater than that of every piece recorded before it
    time: str
    function: str
    version: int
    instance: int
    invocation_id: str  # "" for text that belongs to no invocation
    text: str


class InvocationRecord(Struct, frozen=True, kw_only=True):
    """The record of one run. `log` is filled by `show` only."""

    invocation_id: str
    namespace: str
    function: str
    version: int
    status: str
    http_status: int
    trigger: str
    cold: bool
    received: str
    attempt: int
    queue_ms: float
    init_ms: float
    run_ms: float
    elapsed_ms: float  # from the request's receipt to the end of the answer
    billed_ms: int
    cpu_wait_ms: float  # run time that is not billed: the instance waited for a CPU of a full machine
    memory_bytes: int
    peak_bytes: int
    bytes_in: int
    bytes_out: int
    instance: int
    log_dropped: int  # lines
    error: RecordedError | None = None
    traceback: str = ""
    log: tuple[LogLine, ...] = ()


class Usage(Struct, frozen=True, kw_only=True):
    """What ran: sums over the invocations that ended in the period. Grouping fields not asked for are empty."""

    namespace: str
    period: str = ""  # RFC 3339 start of the minute, hour or day
    function: str = ""
    version: int = 0
    calls: int = 0
    failed: int = 0  # of `calls`, those that did not end ok
    cold: int = 0
    billed_ms: int = 0
    mib_ms: int = 0  # Σ billed ms × memory MiB
    run_ms: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    cpu_ms: float = 0.0  # of the instances, initialisation included
    warm_mib_ms: int = 0  # of idle instances that are kept because `min` says so
    dropped: int = 0  # records that could not be written; their usage is not in the sums


UsageGroup = tuple[int, str, str, int]  # (Unix minute or 0, namespace, function, version)


def usage_row(group: UsageGroup, sums: Sequence[int], *, stepped: bool) -> Usage:
    """Return sums (in the order of `USAGE_COLUMNS`) as they are shown; `stepped`: the minute is a period's start."""
    minute, namespace, function, version = group
    calls, failed, cold, billed_ms, mib_ms, run_ns, bytes_in, bytes_out, cpu_ns, warm_mib_ms = sums
    return Usage(
        namespace=namespace,
        period=time_text(minute * 60_000_000) if stepped else "",
        function=function,
        version=version,
        calls=calls,
        failed=failed,
        cold=cold,
        billed_ms=billed_ms,
        mib_ms=mib_ms,
        run_ms=run_ns / 1e6,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        cpu_ms=cpu_ns / 1e6,
        warm_mib_ms=warm_mib_ms,
    )


class Page(Struct, frozen=True, kw_only=True):
    """Some records, newest first. `next` continues; "" at the end."""

    items: tuple[InvocationRecord, ...]
    next: str = ""


class LogPage(Struct, frozen=True, kw_only=True):
    """Some log pieces, oldest first. `next` is the cursor that continues behind the last one seen."""

    items: tuple[LogLine, ...]
    next: int = 0


class RecorderStatus(Struct, frozen=True, kw_only=True):
    """How recording goes. `state` is ok or a fault's code; `message` says why it does not go on."""

    state: str = "ok"
    message: str = ""
    indexed: int = 0  # invocations since the recorder started
    segments: int = 0  # files not yet read to their end, the one being written included
    unsealed: int = 0  # segments whose writer was killed
    damaged: int = 0  # of these, those that ended inside an entry
    unreadable: int = 0  # files that were no segments, set aside


# What the recorder hands to the store: one stretch of a segment, folded. Rows are plain tuples in the order of
# the columns below, because a burst is tens of thousands of them a second.
UsageKey = tuple[int, str, str, int]  # (Unix minute, namespace, function, version number)
FunctionKey = tuple[str, str]  # (namespace, function)
ProfileKey = tuple[int, str, str]  # (Unix minute, namespace, function)

RECORD_COLUMNS: Final = (
    "id",
    "attempt",
    "version",
    "status",
    "http_status",
    "trigger",
    "cold",
    "received_us",
    "elapsed_ns",
    "queue_ns",
    "init_ns",
    "run_ns",
    "billed_ns",
    "memory_bytes",
    "peak_bytes",
    "bytes_in",
    "bytes_out",
    "instance",
    "log_dropped",
    "error_code",
    "error_message",
    "trace",
)
LOG_COLUMNS: Final = ("invocation", "version", "instance", "time_us", "text")
USAGE_COLUMNS: Final = (
    "calls",
    "failed",
    "cold",
    "billed_ms",
    "mib_ms",
    "run_ns",
    "bytes_in",
    "bytes_out",
    "cpu_ns",
    "warm_mib_ms",
)


class Batch(Struct, kw_only=True):
    """Records, log text and usage of a stretch of segments, to be stored in one transaction."""

    node_id: bytes
    epoch: int
    records: dict[FunctionKey, list[tuple[object, ...]]] = {}
    logs: dict[FunctionKey, list[tuple[object, ...]]] = {}
    usage: dict[UsageKey, list[int]] = {}
    profiles: dict[ProfileKey, Profile] = {}
    count: int = 0  # finished invocations folded in
    dropped: dict[int, int] = {}  # Unix minute → records the writer could not write


class Position(Struct, frozen=True, kw_only=True):
    """How far a segment has been indexed."""

    epoch: int
    number: int
    offset: int
