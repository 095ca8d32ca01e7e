"""Calls about secrets. Functions of a `NodeClient`, so that its class stays small."""

from __future__ import annotations

import binascii
from urllib.parse import quote

from wispd.client.node import Json, NodeClient


def put(client: NodeClient, name: str, value: bytes) -> Json:
    """Set a secret."""
    content = {"base64": binascii.b2a_base64(value, newline=False).decode()}
    return client.ask("PUT", _path(client, name), json=content)


def listed(client: NodeClient) -> list[Json]:
    """Return all secrets of the namespace, without values."""
    return client.ask_all(_all(client))


def delete(client: NodeClient, name: str, *, force: bool) -> None:
    client.ask("DELETE", _path(client, name), params={"force": "true"} if force else {})


def rotate_key(client: NodeClient) -> Json:
    """Seal everything with a new master key."""
    return client.ask("POST", "/v1/secrets/rotate-key")


def _path(client: NodeClient, name: str) -> str:
    return f"{_all(client)}/{quote(name, safe='')}"


def _all(client: NodeClient) -> str:
    return f"/v1/namespaces/{quote(client.namespace, safe='')}/secrets"
