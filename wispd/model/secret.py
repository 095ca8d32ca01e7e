"""Secrets: what a function asks for, and how one is kept. Nothing here ever holds a value in the clear."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

VALUE_BYTES_MAX: Final = 32_768  # two of them fit into the one message an instance gets
PER_NAMESPACE_MAX: Final = 1000


class SecretUse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function's wish for a secret: as a variable of that name, or as the file `/run/secrets/<file>`."""

    name: str
    file: str = ""


class SealedSecret(Struct, frozen=True, kw_only=True):
    """A secret as it is stored and published.

    `sealed` is the value under a key of its own, `wrapped` that key under the node's master key `key_id`. Both are
    bound to namespace, name and version: moved to another place, neither opens.
    """

    namespace: str
    name: str
    version: int  # counts the values that were set
    key_id: str
    wrapped: bytes
    sealed: bytes
    created_us: int
    updated_us: int


class SecretDeleted(Struct, frozen=True, kw_only=True):
    """A journal entry: the secret is gone."""

    namespace: str
    name: str
