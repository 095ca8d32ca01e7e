"""How functions perform, as the admin API asks: profiles and facts from the store, the rest from the gateway."""

from __future__ import annotations

from typing import Any, Final

from wispd.app.reading import RecordReader
from wispd.base.errors import Fault
from wispd.control.dataplane import DataPlane
from wispd.control.limits import LimitDesk
from wispd.metering.billing import rounded
from wispd.metering.explaining import explain
from wispd.metering.rating import PriceList, Quantities, charge
from wispd.metering.statistics import series
from wispd.model.function import MEMORY_START, Published
from wispd.model.statistics import Explanation, Statistics, Summary
from wispd.ports.catalogue import Registered

MONTH_S: Final = 30 * 86_400
_REFUSING: Final = {"stopped": "is spent", "throttled": "is spent and lets one call a second in"}


class PerformanceReader:
    """Implements `wispd.api.admin_statistics.Performance`. `concurrency`: the node's default for a namespace."""

    def __init__(
        self, records: RecordReader, gateway: DataPlane, desk: LimitDesk, *, prices: PriceList, concurrency: int
    ) -> None:
        self._records = records
        self._gateway = gateway
        self._desk = desk
        self._prices = prices
        self._concurrency = concurrency

    async def statistics(self, namespace: str, name: str, *, first_s: int, last_s: int, step_s: int) -> Statistics:
        minutes = 1 if step_s % 3600 else 60
        unit_s = minutes * 60
        found = await self._records.profiles(
            (namespace, name), step=minutes, first=first_s // unit_s, last=-(-last_s // unit_s)
        )
        points, total = series(
            [(slot * unit_s, profile) for slot, profile in found],
            first_s=first_s,
            last_s=last_s,
            step_s=step_s,
            prices=self._prices,
        )
        return Statistics(
            namespace=namespace,
            function=name,
            step_s=step_s,
            currency=self._prices.currency,
            items=points,
            total=total,
        )

    async def why(self, function: Registered, *, since: str, since_us: int, now_us: int) -> Explanation:
        published = function.published
        key = (published.namespace, published.name)
        first_s, last_s = since_us // 60_000_000 * 60, now_us // 60_000_000 * 60 + 60
        steps = {"first_s": first_s, "last_s": last_s, "step_s": last_s - first_s}
        facts, profiles = await self._records.facts(key, since_us=since_us, first=first_s // 60, last=last_s // 60)
        _, total = series([(slot * 60, one) for slot, one in profiles], **steps, prices=self._prices)
        summary = self._summary(
            published,
            await self._told(),
            since=since,
            window_s=(now_us - since_us) / 1e6,
            total=total,
            facts=facts,
        )
        return Explanation(
            function=published.name, namespace=published.namespace, since=since, total=total, reasons=explain(summary)
        )

    async def _told(self) -> dict[str, Any]:
        try:
            return await self._gateway.status()
        except Fault:
            return {}

    def _summary(self, published: Published, told: dict[str, Any], **measured: Any) -> Summary:
        version = published.live
        key = (published.namespace, published.name)
        pool: dict[str, Any] = next(
            (one for one in told.get("functions", []) if (one["namespace"], one["name"]) == key), {}
        )
        quota = self._desk.quota(published.namespace)
        memory_bytes = pool.get("memory_bytes") or version.memory_bytes or MEMORY_START
        kept = Quantities(warm_mib_ms=(memory_bytes >> 20) * MONTH_S * 1000)
        return Summary(
            function=published.name,
            enabled=published.enabled,
            timeout_s=version.timeout_s,
            idle_s=version.idle_s,
            minimum=version.instances_min,
            maximum=version.instances_max,
            memory_bytes=version.memory_bytes,
            memory_now_bytes=pool.get("memory_bytes", 0),
            reserved=published.concurrency_reserved,
            concurrency=self._concurrency if quota.concurrency < 0 else quota.concurrency,
            calls_per_minute=quota.calls_per_minute,
            waiting=pool.get("waiting", 0),
            budgets=tuple(_refusing(told.get("budgets", []), key)),
            kept_micro_a_month=rounded([charge(kept, self._prices)])[0],
            currency=self._prices.currency,
            **measured,
        )


def _refusing(budgets: list[dict[str, Any]], key: tuple[str, str]) -> list[tuple[str, str, str]]:
    namespace, name = key
    return [
        (f"function {name}" if one["function"] else f"namespace {namespace}", _REFUSING[one["state"]], one["resets"])
        for one in budgets
        if one["namespace"] == namespace and one["function"] in ("", name) and one["state"] in _REFUSING
    ]
