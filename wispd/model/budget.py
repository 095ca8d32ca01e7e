"""Budget and quota: what a function or a namespace may spend, and how much of the node a namespace may have."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Period = Literal["day", "month"]
Reaction = Literal["warn", "throttle", "stop"]


class Budget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A limit on what calls may cost in a UTC day or month, before any free tier. `function` "": the namespace's."""

    namespace: str
    function: str = ""
    period: Period = "month"
    limit_micro: int = 0
    at: tuple[int, ...] = (80,)  # per cent of the limit at which a warning is written, ascending
    then: Reaction = "stop"  # what happens at the limit


class BudgetRemoved(Struct, frozen=True, kw_only=True):
    """A journal entry: the budget is no more."""

    namespace: str
    function: str
    period: Period


class Quota(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of a node one namespace may have; -1: the node's default, or no limit where there is none."""

    namespace: str
    functions: int = -1  # deployed at once
    code_bytes: int = -1  # of all versions that are kept, equal code counted once
    concurrency: int = -1  # invocations in flight
    requests_per_s: int = -1  # of one token, on either listener
    calls_per_minute: int = -1  # of one function


class BudgetState(Struct, frozen=True, kw_only=True):
    """How far a budget is spent now. `known` False: what was spent before is still being added up."""

    namespace: str
    function: str
    period: Period
    limit_micro: int
    spent_micro: int
    reserved_micro: int  # the most that calls in flight may still cost
    then: Reaction
    state: str  # ok, warned, throttled, stopped; "over" for a budget that only warns
    resets: str  # RFC 3339
    refused: int  # calls since the gateway started
    known: bool = True
