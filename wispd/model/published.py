"""The publication journal: how the control plane tells the data plane what to serve.

One JSON document a line, appended by control, read by the gateway. It is derived from the control plane's store and
rebuilt (compacted) when control starts; the gateway starts from it alone, so known functions are served while control
is down. A last line without its newline is not yet written and is left for the next read.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from wispd.model.budget import Budget, BudgetRemoved, Quota
from wispd.model.function import Published, Version, Withdrawn
from wispd.model.secret import SealedSecret, SecretDeleted

JOURNAL_NAME: Final = "journal.jsonl"  # in <data>/published/; replaced whole (rename) when compacted


class Token(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token that the public listener accepts. `digest` is the SHA-256 (hex) of the token's text."""

    digest: str
    role: str  # admin, deployer, invoker, viewer
    namespace: str = ""  # "": the node's own, for every namespace
    expires_us: int = 0  # Unix µs; 0: never
    id: str = ""  # tok_…
    name: str = ""  # for people


class TokenRevoked(Struct, frozen=True, kw_only=True):
    """The token is no longer accepted."""

    digest: str


Entry = Published | Withdrawn | Token | TokenRevoked | Budget | BudgetRemoved | Quota | SealedSecret | SecretDeleted


class _Line(Struct, omit_defaults=True):
    """One line: exactly one of its fields is set."""

    function: Published | None = None
    withdrawn: Withdrawn | None = None
    token: Token | None = None
    token_revoked: TokenRevoked | None = None
    budget: Budget | None = None
    budget_removed: BudgetRemoved | None = None
    quota: Quota | None = None
    secret: SealedSecret | None = None
    secret_deleted: SecretDeleted | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Line)


def encode(entry: Entry) -> bytes:
    """Return the journal line of `entry`, newline included."""
    match entry:
        case Published():
            line = _Line(function=entry)
        case Withdrawn():
            line = _Line(withdrawn=entry)
        case Token():
            line = _Line(token=entry)
        case TokenRevoked():
            line = _Line(token_revoked=entry)
        case Budget():
            line = _Line(budget=entry)
        case BudgetRemoved():
            line = _Line(budget_removed=entry)
        case Quota():
            line = _Line(quota=entry)
        case SealedSecret():
            line = _Line(secret=entry)
        case SecretDeleted():
            line = _Line(secret_deleted=entry)
    return _encoder.encode(line) + b"\n"


def decode(line: bytes) -> Entry:
    """Return the entry of one journal line; raises `msgspec.DecodeError` or `ValueError` for anything else."""
    parsed = _decoder.decode(line)
    entry: Entry | None = parsed.function or parsed.withdrawn or parsed.token or parsed.token_revoked
    entry = entry or parsed.budget or parsed.budget_removed or parsed.quota
    entry = entry or parsed.secret or parsed.secret_deleted
    if entry is None:
        raise ValueError(f"journal line without an entry: {line[:80]!r}")
    return entry


__all__ = [
    "JOURNAL_NAME",
    "Entry",
    "Published",
    "SealedSecret",
    "SecretDeleted",
    "Token",
    "TokenRevoked",
    "Version",
    "Withdrawn",
    "decode",
    "encode",
]
