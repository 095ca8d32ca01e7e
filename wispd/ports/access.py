"""What the control plane keeps about tenants: their tokens, their namespaces, and which uploads are whose."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from wispd.model.published import Token

UploadKind = Literal["code", "layer"]


class Credential(Struct, frozen=True, kw_only=True):
    """A token as it is stored. `created_by` is the id of the token that made it, or a word for who did."""

    token: Token
    created_us: int
    created_by: str


class Credentials(Protocol):
    """Tokens. Reading is short; changes belong into the writer. A revoked one is never seen again."""

    def by_digest(self, digest: str) -> Token | None:
        """Return a token that is not revoked; it may have expired."""

    def all(self) -> list[Token]:
        """Return what is not revoked."""

    def page(self, namespace: str, *, after: str, limit: int) -> list[Credential]:
        """Return tokens of one namespace ("": of the node) in the order of their ids, those behind `after`."""

    def add(self, token: Token, *, created_by: str) -> bool:
        """Store a token; False when its digest was known already, even as revoked."""

    def revoke(self, namespace: str, token_id: str) -> Token:
        """Revoke a token of one namespace ("": of the node). Raises: `Fault` `not_found`, `conflict` (the last)."""

    def revoke_all(self, namespace: str) -> list[Token]:
        """Revoke all tokens of a namespace; returns them."""


class Namespace(Struct, frozen=True, kw_only=True):
    """A tenant."""

    name: str
    created_us: int


class Namespaces(Protocol):
    """Namespaces. `default` is always there."""

    def find(self, name: str) -> Namespace | None: ...

    def page(self, *, after: str, limit: int) -> list[Namespace]: ...

    def add(self, name: str) -> Namespace:
        """Raises: `Fault("conflict")` for a name that is taken, also in another case."""

    def remove(self, name: str) -> None:
        """Raises: `Fault` `not_found`, `conflict` while it has functions."""


class Uploads(Protocol):
    """Which namespace brought (or built) which tree. Trees are shared on the disk, their names are not."""

    def has(self, namespace: str, kind: UploadKind, digest: str) -> bool: ...

    def add(self, namespace: str, kind: UploadKind, digest: str) -> None: ...
