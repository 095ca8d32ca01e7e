"""What a change of a function may be made conditional on: that nobody else changed it since it was read. Pure."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec
from msgspec import Struct

from wispd.base.errors import Fault
from wispd.ports.catalogue import Registered

ANY_TAG: Final = "*"
_TAG_BYTES: Final = 16


class Precondition(Struct, frozen=True, kw_only=True):
    """`tag`: only what has this ETag now; "*": only what is there, whatever it is. `absent`: only what is not."""

    tag: str | None = None
    absent: bool = False


ALWAYS: Final = Precondition()


def etag_of(function: Registered) -> str:
    """Return a function's ETag, without the quotes: another one after every change of what the API shows of it.

    Made of ids and settings only: versions don't change, and values of `env` could be guessed from a digest of them.
    """
    published = function.published
    shown = (
        *(published.live.id, function.created_us, function.updated_us, function.versions_kept),
        *(published.enabled, published.disabled_reason, published.concurrency_reserved),
        [msgspec.to_builtins(pointer) for pointer in published.pointers],
        [version.id for version in published.others],
    )
    return hashlib.blake2b(msgspec.json.encode(shown), digest_size=_TAG_BYTES).hexdigest()


def check_precondition(wanted: Precondition, found: Registered | None, name: str) -> None:
    """Raises: `Fault("precondition_failed")` when `found` is not what the change was meant for."""
    present = etag_of(found) if found is not None else ""
    if wanted.absent and present:
        raise Fault("precondition_failed", f'function {name!r} is there already, as "{present}"', etag=present)
    if wanted.tag is None:
        return
    if not present:
        raise Fault("precondition_failed", f"function {name!r} is not there, so it has no ETag", etag="")
    if wanted.tag not in (ANY_TAG, present):
        detail = f'function {name!r} is at "{present}", not at "{wanted.tag}": it was changed meanwhile'
        raise Fault("precondition_failed", detail, etag=present)
