"""Versions, aliases and rollouts as calls of the client."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import quote

Json = dict[str, Any]


class _Calls(Protocol):
    """What the client itself has."""

    def _json(self, method: str, path: str, **request: Any) -> Json: ...

    def _function(self, name: str) -> str: ...


class VersionCalls:
    """A part of `NodeClient`: what functions point at."""

    def deploy(self: _Calls, name: str, document: Json, *, alias: str = "live") -> Json:
        """Make a version of a function and point an alias at it; the same document again changes nothing."""
        params = {} if alias == "live" else {"alias": alias}
        return self._json("PUT", self._function(name), json=document, params=params)

    def make_version(self: _Calls, name: str, document: Json) -> Json:
        """Make a version that no alias points at yet."""
        return self._json("POST", f"{self._function(name)}/versions", json=document)

    def versions(self: _Calls, name: str, *, limit: int = 50) -> Json:
        """Return the newest versions."""
        return self._json("GET", f"{self._function(name)}/versions", params={"limit": str(limit)})

    def delete_version(self: _Calls, name: str, number: int) -> None:
        self._json("DELETE", f"{self._function(name)}/versions/{number}")

    def history(self: _Calls, name: str, *, limit: int = 50) -> Json:
        """Return what each alias pointed at, the newest first."""
        return self._json("GET", f"{self._function(name)}/history", params={"limit": str(limit)})

    def aliases(self: _Calls, name: str) -> list[Json]:
        found: list[Json] = self._json("GET", f"{self._function(name)}/aliases")["items"]
        return found

    def set_alias(self: _Calls, name: str, alias: str, versions: dict[str, int], sticky: Json | None = None) -> Json:
        """Point an alias at versions by weight."""
        path = f"{self._function(name)}/aliases/{quote(alias, safe='')}"
        return self._json("PUT", path, json={"versions": versions, "sticky": sticky})

    def delete_alias(self: _Calls, name: str, alias: str) -> None:
        self._json("DELETE", f"{self._function(name)}/aliases/{quote(alias, safe='')}")

    def rollback(self: _Calls, name: str, number: int | None = None) -> Json:
        """Give all calls back to a version, None: to the one that was live before."""
        return self._json("POST", f"{self._function(name)}/rollback", json={"version": number} if number else {})

    def enable(self: _Calls, name: str, *, enabled: bool, reason: str = "") -> Json:
        """Let calls in, or refuse them."""
        document = {"enabled": enabled} | ({"reason": reason} if reason else {})
        return self._json("PUT", f"{self._function(name)}/enabled", json=document)

    def rollout(self: _Calls, name: str) -> Json:
        """Return the latest rollout."""
        return self._json("GET", f"{self._function(name)}/rollout")

    def start_rollout(self: _Calls, name: str, document: Json) -> Json:
        """Begin to move `live` to another version step by step."""
        return self._json("POST", f"{self._function(name)}/rollout", json=document)

    def end_rollout(self: _Calls, name: str, how: str) -> Json:
        """End a rollout: `abort` it, or `promote` its version at once."""
        return self._json("POST", f"{self._function(name)}/rollout/{how}", json={})
