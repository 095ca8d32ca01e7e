"""Tokens and namespaces: made, listed, taken away. What is revoked is refused at once, on both listeners."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.base.ids import to_text
from wispd.control.names import check_name
from wispd.control.writer import Writer
from wispd.model.permission import Principal, Role
from wispd.model.published import Entry, SecretDeleted, Token, TokenRevoked
from wispd.model.secret import PER_NAMESPACE_MAX
from wispd.ports.access import Namespace
from wispd.ports.catalogue import Catalogue

PREFIX: Final = "wisp_"  # a leaked token can be recognised by it
ENTROPY_BYTES: Final = 32
EXPIRES_MAX_S: Final = 3650 * 86_400.0


class Tenancy:
    """Tokens and namespaces of a node. `level` asks how well sandboxes are isolated; "" when that is not known."""

    def __init__(
        self, writer: Writer, *, clock: Clock, ids: Callable[[], bytes], level: Callable[[], Awaitable[str]]
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._ids = ids
        self._level = level

    async def issue(
        self, by: Principal, namespace: str, *, role: Role, name: str = "", expires_s: float = 0
    ) -> tuple[str, Token]:
        """Make a token for a namespace ("": the node); returns its text, which is kept nowhere, and what is stored.

        `expires_s` 0: never. Raises: `Fault` `not_found`, `conflict`, `storage_full`, `unavailable`.
        """
        text = PREFIX + secrets.token_urlsafe(ENTROPY_BYTES)
        token = Token(
            digest=hashlib.sha256(text.encode()).hexdigest(),
            role=role,
            namespace=namespace,
            expires_us=self._clock.unix_ns() // 1000 + int(expires_s * 1e6) if expires_s else 0,
            id=to_text("tok", self._ids()),
            name=name,
        )

        def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
            if namespace:
                must_exist(catalogue, namespace)
            catalogue.credentials.add(token, created_by=by.token_id)
            return None, [token]

        await self._writer.apply(change)
        return text, token

    async def revoke(self, namespace: str, token_id: str) -> None:
        """Revoke a token of a namespace ("": of the node). Raises: `Fault` `not_found`, `conflict` for the last."""

        def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
            token = catalogue.credentials.revoke(namespace, token_id)
            return None, [TokenRevoked(digest=token.digest)]

        await self._writer.apply(change)

    async def found(self, name: str) -> Namespace:
        """Create a namespace. Raises: `Fault` `invalid_argument`, `conflict` (taken, or no isolation here)."""
        check_name(name, "namespace")
        if await self._level() == "process":
            text = "functions are not isolated from each other here (level process), so there is one namespace only"
            raise Fault("conflict", f"{text}; `wisp doctor --fix` says what would change that", level="process")

        def change(catalogue: Catalogue) -> tuple[Namespace, list[Entry]]:
            return catalogue.namespaces.add(name), []

        return await self._writer.apply(change)

    async def dissolve(self, name: str) -> None:
        """Delete a namespace that has no functions; its tokens and secrets go. Raises: `not_found`, `conflict`."""

        def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
            catalogue.namespaces.remove(name)
            revoked = catalogue.credentials.revoke_all(name)
            secrets = catalogue.secrets.page(name, after="", limit=PER_NAMESPACE_MAX)
            for secret in secrets:
                catalogue.secrets.delete(name, secret.name)
            deleted = [SecretDeleted(namespace=name, name=secret.name) for secret in secrets]
            return None, [*deleted, *(TokenRevoked(digest=token.digest) for token in revoked)]

        await self._writer.apply(change)


def must_exist(catalogue: Catalogue, namespace: str) -> None:
    """Refuse a change in a namespace that went away meanwhile. Raises: `Fault("not_found")`."""
    if catalogue.namespaces.find(namespace) is None:
        raise Fault("not_found", f"there is no namespace {namespace[:80]!r} here", namespace=namespace[:80])
