"""The audit log: what was changed, refused or failed, by whom. Each entry's hash covers the one before it.

A row is (seq, namespace, content, hash): `content` is the entry as canonical JSON, `hash` the SHA-256 over the
previous hash, the number and the content. Editing, deleting or reordering rows breaks the chain where it was done;
cutting its end is seen by who kept a head (number and hash) from before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from msgspec import Struct

Outcome = Literal["done", "denied", "failed"]
Row = tuple[int, str, bytes, bytes]

GENESIS: Final = bytes(32)  # the hash before the first entry
TEXT_MAX: Final = 200  # characters of one field


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One entry. Texts are printable: what is not was escaped."""

    time_us: int  # Unix µs
    outcome: Outcome
    operation: str  # method and path as the route is declared
    target: str = ""  # what the path named
    namespace: str = ""  # of the target; "": the node
    token_id: str = ""  # "": no valid token
    token_name: str = ""
    token_namespace: str = ""  # "": a token of the node, or none
    role: str = ""
    code: str = ""  # of the fault
    source: str = ""  # address of the client
    unsaid: int = 0  # equal outcomes of the same token before this one that have no entry of their own


class Verdict(Struct, frozen=True, kw_only=True):
    """What a walk along the chain found. `broken` is the first number where it does not hold; 0: it holds."""

    entries: int
    head: str
    broken: int = 0
    why: str = ""


_encoder: Final = msgspec.json.Encoder(order="sorted")
_decoder: Final = msgspec.json.Decoder(AuditEntry)


def content_of(entry: AuditEntry) -> bytes:
    """Return the canonical form."""
    return _encoder.encode(entry)


def entry_of(content: bytes) -> AuditEntry:
    """Return the entry of its canonical form; raises `msgspec.DecodeError`."""
    return _decoder.decode(content)


def link(previous: bytes, seq: int, content: bytes) -> bytes:
    """Return the hash of an entry behind `previous`."""
    return hashlib.sha256(previous + seq.to_bytes(8, "big") + content).digest()


def head_text(seq: int, last: bytes) -> str:
    """Return the head as people keep it."""
    return f"{seq}:{last.hex()}"


def verify(rows: Iterable[Row], kept: str = "") -> Verdict:
    """Walk along the whole chain. `kept`: a head from before, which must lie on it."""
    previous, count = GENESIS, 0
    kept_seq, _, kept_hash = kept.partition(":")
    for seq, namespace, content, found in rows:
        why = _objection(seq - count, namespace, content, right=link(previous, seq, content) == found)
        if not why and kept and str(seq) == kept_seq and found.hex() != kept_hash:
            why = "it is not the entry of the head that was kept: the log was written anew"
        if why:
            return Verdict(entries=count, head=head_text(count, previous), broken=count + 1, why=why)
        previous, count = found, seq
    head = head_text(count, previous)
    if kept and not (kept_seq.isdigit() and int(kept_seq) <= count):
        why = f"the head that was kept is number {kept_seq[:20]}: the end of the log is gone"
        return Verdict(entries=count, head=head, broken=count + 1, why=why)
    return Verdict(entries=count, head=head)


def printable(text: str, length_max: int = TEXT_MAX) -> str:
    r"""Return `text` with everything that can't be shown as `\x1b`, cut at a length."""
    shown = "".join(one if one.isprintable() and one != "\\" else _escaped(one) for one in text[:length_max])
    return shown + ("…" if len(text) > length_max else "")


def _objection(step: int, namespace: str, content: bytes, *, right: bool) -> str:
    if step != 1:
        return "an entry is missing here, or not in its place"
    if not right:
        return "its hash does not fit: it, or one before it, was changed"
    try:
        entry = entry_of(content)
    except msgspec.DecodeError:
        return "it can't be read"
    return "" if entry.namespace == namespace else "it is filed under another namespace"


def _escaped(one: str) -> str:
    return one.encode("unicode_escape", "surrogatepass").decode("ascii")
