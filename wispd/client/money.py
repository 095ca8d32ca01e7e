"""Usage, budgets, quotas and statistics of the control API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

NAMESPACE_WIDE = "_namespace"  # the scope of a budget for everything in the namespace
Json = dict[str, Any]


class MoneyCalls:
    """A part of `wispd.client.node.NodeClient`."""

    _base: str

    def _json(self, method: str, path: str, **request: Any) -> Json:
        raise NotImplementedError

    def usage(self, **wanted: str) -> Json:
        """Return a bill of the namespace: `items`, `total`, `prices`. `wanted`: since, until, by."""
        return self._json("GET", f"{self._base}/usage", params=_given(wanted))

    def usage_of_node(self, **wanted: str) -> Json:
        """Return a bill of all namespaces."""
        return self._json("GET", "/v1/usage", params=_given(wanted))

    def statistics(self, name: str, **wanted: str) -> Json:
        """Return a series and its total. `wanted`: since, step."""
        return self._json("GET", f"{self._base}/functions/{quote(name, safe='')}/stats", params=_given(wanted))

    def why(self, name: str, *, since: str) -> Json:
        return self._json("GET", f"{self._base}/functions/{quote(name, safe='')}/why", params={"since": since})

    def live(self) -> Json:
        """Return one look at the counters of all functions."""
        return self._json("GET", "/v1/counters")

    def budgets(self) -> list[Json]:
        return list(self._json("GET", f"{self._base}/budgets")["items"])

    def set_budget(self, function: str, period: str, document: Json) -> Json:
        """Set a budget; `function` "": of the namespace."""
        return self._json("PUT", self._budget(function, period), json=document)

    def remove_budget(self, function: str, period: str) -> None:
        self._json("DELETE", self._budget(function, period))

    def quotas(self) -> Json:
        return self._json("GET", f"{self._base}/quotas")

    def change_quotas(self, document: Json) -> Json:
        return self._json("PATCH", f"{self._base}/quotas", json=document)

    def _budget(self, function: str, period: str) -> str:
        scope = quote(function, safe="") if function else NAMESPACE_WIDE
        return f"{self._base}/budgets/{scope}/{quote(period, safe='')}"


def _given(wanted: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if value}
