"""What an instance answers, checked: OUTCOME heads and response header blocks. Pure.

Everything here is hostile input. A block that a correct runtime can't have sent raises `FrameError`, which ends the
instance; header lines that belong to the platform (framing, hop-by-hop, `Wisp-*`) are dropped.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from wisp.runtime import frames
from wisp.runtime.frames import FrameError

_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\t\x20-\x7e\x80-\xff])*)\Z")  # RFC 9110 §5.5
_OURS: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"date",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"server",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_EVENTS: Final = re.compile(rb"(?:^|\n)content-type:[ \t]*text/event-stream", re.IGNORECASE)
_HEADERS_MAX: Final = 200
_CACHE_MAX: Final = 4_096
_CACHED_BLOCK_MAX: Final = 512
_cache: dict[bytes, bytes] = {}  # the same few blocks come again and again: checked once

_HEAD_SIZE: Final = frames.OUTCOME_HEAD.size
_HEAD_START: Final = frames.HEADER.size
_unpack_head = frames.OUTCOME_HEAD.unpack_from


class Answer(NamedTuple):
    """One OUTCOME, its lengths checked. For an error `block` is the first line and `body` the traceback."""

    run_ns: int  # what the instance says: advisory
    peak_bytes: int
    log_dropped: int
    block: bytes
    log: bytes
    body: bytes


def parse_outcome(packet: bytes, head_len: int) -> Answer:
    """Cut an OUTCOME packet whose header is already checked."""
    if head_len < _HEAD_SIZE:
        raise FrameError(f"outcome head of {head_len} bytes, at least {_HEAD_SIZE} are needed")
    run_ns, peak_bytes, block_len, log_len, dropped = _unpack_head(packet, _HEAD_START)
    if _HEAD_SIZE + block_len + log_len != head_len:
        raise FrameError(f"outcome head of {head_len} bytes says block {block_len} and log {log_len}")
    if block_len > frames.BLOCK_MAX or log_len > frames.LOG_MAX:
        raise FrameError(
            f"outcome with block {block_len} and log {log_len}, limits {frames.BLOCK_MAX} and {frames.LOG_MAX}"
        )
    start = _HEAD_START + _HEAD_SIZE
    middle = start + block_len
    end = middle + log_len
    return Answer(
        run_ns, peak_bytes, dropped, packet[start:middle], packet[middle:end] if log_len else b"", packet[end:]
    )


def clean_block(block: bytes) -> bytes:
    """Return the header lines of `block` that may go to a client, each ended by CRLF.

    Raises: `FrameError` for a line that is not a header, control characters, or too many lines.
    """
    cleaned = _cache.get(block)
    if cleaned is not None:
        return cleaned
    cleaned = _clean(block)
    if len(block) <= _CACHED_BLOCK_MAX:
        if len(_cache) >= _CACHE_MAX:
            _cache.clear()
        _cache[block] = cleaned
    return cleaned


def is_event_stream(block: bytes) -> bool:
    """Do these header lines announce server-sent events?"""
    return _EVENTS.search(block) is not None


def _clean(block: bytes) -> bytes:
    if not block:
        return b""
    if not block.endswith(b"\r\n"):
        raise FrameError("response headers don't end with CRLF")
    lines = block[:-2].split(b"\r\n")
    if len(lines) > _HEADERS_MAX:
        raise FrameError(f"{len(lines)} response headers, limit {_HEADERS_MAX}")
    kept = []
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            raise FrameError(f"response header {line[:60]!r} is not valid")
        name = match[1].lower()
        if name not in _OURS and not name.startswith((b"wisp-", b"proxy-")):
            kept.append(line + b"\r\n")
    return b"".join(kept)
