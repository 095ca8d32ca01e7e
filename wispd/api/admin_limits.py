"""The admin API's routes for budgets and quotas."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from wispd.api.admin_body import document, json_answer
from wispd.api.permitting import needs
from wispd.base.errors import Fault
from wispd.control.dataplane import DataPlane
from wispd.control.limits import BudgetWanted, LimitDesk, QuotaChange, budget_of, function_of, period_of
from wispd.model.budget import Budget, BudgetRemoved, Period, Quota, Reaction

KNOWN_LOOKS: Final = 20  # for the sum of a budget that was just set
KNOWN_LOOK_S: Final = 0.05
_STATE: Final = ("spent_micro", "reserved_micro", "resets", "refused")


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """A budget and how it stands; null and "unknown" while that is not known."""

    namespace: str
    function: str
    period: Period
    limit_micro: int
    at: tuple[int, ...]
    then: Reaction
    spent_micro: int | None
    reserved_micro: int | None
    resets: str | None
    refused: int | None
    state: str


class BudgetPage(msgspec.Struct, frozen=True, kw_only=True):
    """All budgets of a namespace."""

    items: list[BudgetView]
    next: str | None = None


class QuotaUsed(msgspec.Struct, frozen=True, kw_only=True):
    """What a namespace has."""

    functions: int
    code_bytes: int


class QuotaView(msgspec.Struct, frozen=True, kw_only=True):
    """What a namespace may have; null is no limit."""

    namespace: str
    functions: int | None
    code_bytes: int | None
    concurrency: int
    concurrency_is_default: bool
    requests_per_s: int | None
    calls_per_minute: int | None
    used: QuotaUsed


States = dict[tuple[str, str, str], dict[str, Any]]


def limit_routes(desk: LimitDesk, gateway: DataPlane, *, concurrency: int) -> APIRouter:
    """Return the routes. `concurrency`: the node's default for a namespace."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}")

    @router.get("/budgets", **needs("records.read", returns=BudgetPage))
    async def budgets(namespace: str) -> Response:
        """List budgets, with how far each is spent."""
        found = desk.budgets(namespace)
        states = await _states(gateway) if found else {}
        return json_answer(BudgetPage(items=[budget_view(one, states) for one in found]))

    @router.put("/budgets/{scope}/{period}", **needs("budgets.write", takes=BudgetWanted, returns=BudgetView))
    async def set_budget(request: Request, namespace: str, scope: str, period: str) -> Response:
        """Set the budget of a function, or with the scope `_namespace` of everything in the namespace."""
        budget = budget_of(namespace, scope, period, document=await document(request))
        await desk.set_budget(budget)
        return json_answer(budget_view(budget, await _known(gateway, budget)))

    @router.delete("/budgets/{scope}/{period}", status_code=204, **needs("budgets.write"))
    async def remove_budget(namespace: str, scope: str, period: str) -> Response:
        """Remove a budget."""
        removed = BudgetRemoved(namespace=namespace, function=function_of(scope), period=period_of(period))
        await desk.remove_budget(removed)
        return Response(status_code=204)

    @router.get("/quotas", **needs("records.read", returns=QuotaView))
    async def quotas(namespace: str) -> Response:
        """Show how much of the node a namespace may have, and how much it has."""
        return json_answer(await shown(desk.quota(namespace)))

    @router.patch("/quotas", **needs("node.write", scope="namespace", takes=QuotaChange, returns=QuotaView))
    async def change_quotas(request: Request, namespace: str) -> Response:
        """Change quotas: what is absent stays, null goes back to the default. For administrators of the node."""
        return json_answer(await shown(await desk.change_quota(namespace, await document(request))))

    async def shown(quota: Quota) -> QuotaView:
        functions, code_bytes = await run_in_threadpool(desk.used, quota.namespace)
        return quota_view(quota, concurrency, QuotaUsed(functions=functions, code_bytes=code_bytes))

    return router


def budget_view(budget: Budget, states: States) -> BudgetView:
    """Return a budget as the API shows it; a gateway that is away leaves its state open."""
    state = states.get((budget.namespace, budget.function, budget.period), {})
    known = bool(state.get("known"))
    view: dict[str, Any] = msgspec.structs.asdict(budget) | {key: state[key] if known else None for key in _STATE}
    return BudgetView(**view, state=state["state"] if known else "unknown")


def quota_view(quota: Quota, concurrency: int, used: QuotaUsed) -> QuotaView:
    """Return a quota as the API shows it."""
    view: dict[str, Any] = {
        key: None if value == -1 else value for key, value in msgspec.structs.asdict(quota).items()
    }
    if quota.concurrency == -1:
        view["concurrency"] = concurrency
    return QuotaView(**view, concurrency_is_default=quota.concurrency == -1, used=used)


async def _known(gateway: DataPlane, budget: Budget) -> States:
    """Return states once the gateway has added up what a new budget's functions spent, or after a while."""
    states: States = {}
    for _ in range(KNOWN_LOOKS):
        states = await _states(gateway)
        state = states.get((budget.namespace, budget.function, budget.period))
        if state is None or state["known"]:
            break
        await asyncio.sleep(KNOWN_LOOK_S)
    return states


async def _states(gateway: DataPlane) -> States:
    try:
        told = (await gateway.status()).get("budgets", [])
    except Fault:
        return {}
    return {(one["namespace"], one["function"], one["period"]): one for one in told}
