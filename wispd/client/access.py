"""Tokens, namespaces and the audit log, as typed calls of a `NodeClient`."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import quote

Json = dict[str, Any]


class Asking(Protocol):
    """What these calls need of the client. Raises: `Fault`."""

    @property
    def namespace(self) -> str: ...

    def ask(self, method: str, path: str, **request: Any) -> Json: ...

    def ask_all(self, path: str, *, limit: int = 0, **wanted: str) -> list[Json]: ...


class Tokens:
    """Tokens of the client's namespace, or of the node."""

    def __init__(self, client: Asking, *, of_node: bool) -> None:
        self._client = client
        self._path = "/v1/tokens" if of_node else f"/v1/namespaces/{quote(client.namespace, safe='')}/tokens"

    def create(self, role: str, *, name: str, expires: str) -> Json:
        """Make a token; its text is in `token`, this once."""
        body = {"role": role, "name": name} | ({"expires": expires} if expires else {})
        return self._client.ask("POST", self._path, json=body)

    def list(self) -> list[Json]:
        return self._client.ask_all(self._path)

    def revoke(self, token_id: str) -> None:
        self._client.ask("DELETE", f"{self._path}/{quote(token_id, safe='')}")


class Namespaces:
    """The node's namespaces."""

    def __init__(self, client: Asking) -> None:
        self._client = client

    def create(self, name: str) -> Json:
        return self._client.ask("POST", "/v1/namespaces", json={"name": name})

    def list(self) -> list[Json]:
        return self._client.ask_all("/v1/namespaces")

    def show(self, name: str) -> Json:
        return self._client.ask("GET", f"/v1/namespaces/{quote(name, safe='')}")

    def delete(self, name: str) -> None:
        self._client.ask("DELETE", f"/v1/namespaces/{quote(name, safe='')}")


class AuditLog:
    """The audit log of the client's namespace, or of the node."""

    def __init__(self, client: Asking, *, of_node: bool) -> None:
        self._client = client
        self._path = "/v1/audit" if of_node else f"/v1/namespaces/{quote(client.namespace, safe='')}/audit"

    def list(self, *, outcome: str, limit: int) -> list[Json]:
        """Return the newest entries, newest first."""
        return self._client.ask_all(self._path, limit=limit, outcome=outcome)

    def verify(self, head: str) -> Json:
        return self._client.ask("GET", "/v1/audit/verification", params={"head": head} if head else {})
