"""What an instance is told when it starts: the settings in the INIT frame. Pure."""

from __future__ import annotations

import msgspec

from wispd.model.function import Version
from wispd.ports.engine import Started


def init_settings(version: Version, started: Started, memory_bytes: int) -> bytes:
    """Return INIT's JSON, as docs/wire.md describes it."""
    return msgspec.json.encode(
        {
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
