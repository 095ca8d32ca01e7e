"""Identifiers: UUIDv7 inside (16 bytes, sortable by time), `<prefix>_<32 hex>` outside.

Source: RFC 9562, section 5.7. The 62 random bits of the RFC are 30 random bits drawn once per process and a 32-bit
counter, so that one id costs no system call and no lock on the hot path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from wispd.base.clock import Clock

_TEXT = re.compile(r"^[a-z]{2,5}_[0-9a-f]{32}$")


def id_source(clock: Clock) -> Callable[[], bytes]:
    """Return a function that makes ids, each greater than the one before it, unique across processes."""
    unix_ns = clock.unix_ns
    tail = (0b10 << 62) | (int.from_bytes(os.urandom(4), "big") & 0x3FFF_FFFF) << 32
    last = 0
    count = 0

    def make() -> bytes:
        nonlocal last, count
        # 48 bits of milliseconds, version 7, 12 bits of sub-millisecond time: never backwards, even if the clock is.
        ms, sub = divmod(unix_ns(), 1_000_000)
        stamp = ms << 16 | 0x7000 | (sub * 4096 // 1_000_000)
        last = stamp if stamp > last else last
        count = (count + 1) & 0xFFFF_FFFF
        return (last << 64 | tail | count).to_bytes(16, "big")

    return make


def to_text(prefix: str, raw: bytes) -> str:
    """Return the outside form of an id."""
    return f"{prefix}_{raw.hex()}"


def from_text(prefix: str, text: str) -> bytes:
    """Return the 16 bytes of `text`; raises `ValueError` when it is no id of this prefix."""
    if not _TEXT.match(text) or not text.startswith(prefix + "_"):
        raise ValueError(f"{text!r} is not an id of the form {prefix}_<32 hexadecimal digits>")
    return bytes.fromhex(text[len(prefix) + 1 :])
