"""What an instance is told when it starts, and what it tells when it is ready: INIT and READY. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from wisp.runtime import frames
from wisp.runtime.frames import Frame, FrameError
from wispd.model.entry import Entry, parse_entries
from wispd.model.function import Version
from wispd.ports.engine import Started


def init_settings(version: Version, started: Started, memory_bytes: int, *, describe: bool = False) -> bytes:
    """Return INIT's JSON, as docs/wire.md describes it. `describe`: READY shall say which entry points there are."""
    asked = {"describe": True} if describe else {}
    return msgspec.json.encode(
        asked
        | {
            "function": version.function,
            "namespace": version.namespace,
            "version": version.number,
            "version_id": version.id,
            "handler": version.handler,
            "dialect": version.dialect,
            "code": started.code_path,
            "layer": started.layer_path,
            "env": version.env,
            "memory_bytes": memory_bytes,
            "timeout_s": version.timeout_s,
            "concurrency": version.concurrency,
            "mount": f"/fn/{version.function}",
        }
    )


class Ready(NamedTuple):
    """What READY says. `entries` is told by an App in a trial."""

    dialect: str
    resident_bytes: int = 0
    entries: tuple[Entry, ...] = ()


def read_ready(frame: Frame, *, describe: bool) -> Ready:
    """Return what a READY frame says; entry points only where they were asked for.

    Raises: `FrameError` for what no honest runtime sends.
    """
    if frame.meta >= len(frames.DIALECTS) or len(frame.head) != frames.READY_HEAD.size:
        raise FrameError(f"ready with dialect {frame.meta} and a head of {len(frame.head)} bytes")
    _, resident_bytes = frames.READY_HEAD.unpack(frame.head)
    try:
        entries = parse_entries(frame.body) if describe else ()
    except ValueError as error:
        raise FrameError(f"ready with wrong {error}") from None
    return Ready(frames.DIALECTS[frame.meta], resident_bytes, entries)
