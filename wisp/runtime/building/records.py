"""The records of a build's stream: type, length, content."""

from __future__ import annotations

import json
from struct import Struct
from typing import Final

HEAD: Final = Struct("<BI")
LOG: Final = 1  # text
STEP: Final = 2  # JSON: {"label"}
FILE: Final = 3  # JSON: {"tree", "path", "executable", "size"}; its content follows in BYTES
BYTES: Final = 4
FAILED: Final = 5  # JSON: {"reason", "label", "detail"}; the last record
DONE: Final = 6  # empty; the last record

LENGTH_MAX: Final = 1 << 18
REASONS: Final = ("exit", "timeout", "disk", "program", "tree", "internal")


def pack(kind: int, content: bytes) -> bytes:
    """Return one record."""
    return HEAD.pack(kind, len(content)) + content


def pack_json(kind: int, content: object) -> bytes:
    """Return one record of a JSON document."""
    return pack(kind, json.dumps(content).encode())
