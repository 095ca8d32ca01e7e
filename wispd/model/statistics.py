"""How a function performed over a while, as it is shown, and what `why` makes of it."""

from __future__ import annotations

from msgspec import Struct


class Point(Struct, frozen=True, kw_only=True):
    """One step of a series, or its total. Percentiles are at most 3.2 % off, however much they stand for."""

    start: str  # RFC 3339
    calls: int
    errors: int
    error_rate: float  # 0 to 1
    refused: int  # calls above a limit, before admission
    cold: int
    retries: int  # attempts after the first
    run_mean_ms: float
    run_p50_ms: float
    run_p95_ms: float
    run_p99_ms: float
    delay_mean_ms: float  # queue and initialisation
    delay_p50_ms: float
    delay_p95_ms: float
    delay_p99_ms: float
    peak_bytes: int
    cost_micro: int  # before any free tier


class Statistics(Struct, frozen=True, kw_only=True):
    """A series, oldest first, every step of it, and the total."""

    namespace: str
    function: str
    step_s: int
    currency: str
    items: list[Point]
    total: Point
    next: str | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """How so many recorded calls ended. `message` is that of the newest."""

    status: str
    code: str
    memory_bytes: int
    count: int
    message: str = ""


class Run(Struct, frozen=True, array_like=True):
    """One recorded call, as far as slowness goes."""

    run_ns: int
    billed_ns: int
    init_ns: int  # above 0: this call waited for a start
    cold: bool


class Facts(Struct, frozen=True, kw_only=True):
    """What the records that are kept say."""

    outcomes: tuple[Outcome, ...] = ()
    runs: tuple[Run, ...] = ()


class Summary(Struct, frozen=True, kw_only=True):
    """Everything `why` looks at."""

    function: str
    since: str  # as asked, for the text
    window_s: float
    total: Point
    facts: Facts = Facts()
    enabled: bool = True
    timeout_s: float = 30.0
    idle_s: float = 60.0
    minimum: int = 0
    maximum: int = 1000
    memory_bytes: int = 0  # 0: auto
    memory_now_bytes: int = 0  # of a new instance; 0: not known
    reserved: int = -1  # share of the namespace's concurrency
    concurrency: int = 1000  # of the namespace
    calls_per_minute: int = -1
    waiting: int = 0
    budgets: tuple[tuple[str, str, str], ...] = ()  # (whose, period and state in words, reset) of those that refuse
    kept_micro_a_month: int = 0  # one instance kept for thirty days
    currency: str = "USD"


class Reason(Struct, frozen=True, kw_only=True):
    """One thing that stands out, with its numbers, and what to do about it."""

    kind: str  # idle, disabled, budget, refused, cold, init, cpu, slow, waiting, memory, timeout, error, lost, fine
    text: str
    advice: str = ""


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a function is cold, slow, refused or failing."""

    function: str
    namespace: str
    since: str
    total: Point
    reasons: list[Reason]
