"""The admin API's routes for rollouts."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from wispd.api.admin_body import document, json_answer
from wispd.api.admin_guard import caller
from wispd.api.admin_versions import sticky_view
from wispd.api.permitting import needs
from wispd.api.version_shapes import RolloutDeclaration, RolloutView, SeenBoth, SeenView
from wispd.control.rolling import Seen
from wispd.control.rollouts import Rollouts, Watch
from wispd.model.record import time_text
from wispd.model.rollout import Rollout


def rollout_routes(rollouts: Rollouts) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}/functions/{name}/rollout")

    @router.get("", **needs("functions.read", returns=RolloutView))
    async def status(namespace: str, name: str) -> Response:
        """Show the latest rollout of a function, and what its present step has shown."""
        return json_answer(rollout_view(*rollouts.status(namespace, name)))

    @router.post(
        "",
        status_code=201,
        **needs("functions.write", takes=RolloutDeclaration, returns=RolloutView, errors=["conflict"]),
    )
    async def start(request: Request, namespace: str, name: str) -> Response:
        """Move `live` to another version step by step; back if it does badly."""
        found = await rollouts.start(namespace, name, await document(request), by=caller(request))
        return json_answer(rollout_view(found, None), 201)

    @router.post("/abort", **needs("functions.write", returns=RolloutView, errors=["conflict"]))
    async def abort(request: Request, namespace: str, name: str) -> Response:
        """End the rollout and give all calls back to the old version."""
        found = await rollouts.end(namespace, name, promote=False, by=caller(request))
        return json_answer(rollout_view(found, None))

    @router.post("/promote", **needs("functions.write", returns=RolloutView, errors=["conflict"]))
    async def promote(request: Request, namespace: str, name: str) -> Response:
        """End the rollout and give all calls to the new version."""
        found = await rollouts.end(namespace, name, promote=True, by=caller(request))
        return json_answer(rollout_view(found, None))

    return router


def rollout_view(rollout: Rollout, watch: Watch | None) -> RolloutView:
    """Return a rollout as the API shows it."""
    plan = rollout.plan
    return RolloutView(
        function=rollout.function,
        namespace=rollout.namespace,
        state=rollout.state,
        reason=rollout.reason,
        from_=rollout.base,
        to=rollout.target,
        percent=rollout.percent,
        step=rollout.step + 1,
        steps=plan.steps,
        every_s=plan.every_s,
        max_errors=plan.errors_max if plan.errors_max >= 0 else None,
        max_latency_s={f"p{100 * plan.latency_quantile:g}": plan.latency_max_s} if plan.latency_quantile else None,
        min_calls=plan.calls_min,
        sticky=sticky_view(plan.sticky),
        started=time_text(rollout.started_us),
        started_by=rollout.started_by,
        updated=time_text(rollout.updated_us),
        waits_for=watch.waits_for if watch else "",
        seen=SeenBoth(new=_seen(watch.new), old=_seen(watch.old)) if watch else None,
    )


def _seen(seen: Seen) -> SeenView:
    return SeenView(calls=seen.calls, failed=seen.failed)
