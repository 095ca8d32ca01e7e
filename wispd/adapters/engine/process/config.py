"""What a launcher is told when it starts: numbers and paths, checked by whoever writes them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LauncherSettings:
    """Sizes in bytes. Members are made with the preset; a start that wants other limits changes them."""

    data: str  # the node's data directory
    mode: str = "auto"  # auto, or one of orders.MODES
    level: str = ""  # of isolation, the least to accept; empty: whatever there is
    service_uid: int = 0  # who owns the data directory; 0: whoever runs the node
    uid_first: int = 0  # first uid of instances; 0: computed from the data directory
    uid_count: int = 0
    budget_bytes: int = 0  # of all instances together; 0: no limit
    instances_max: int = 4096
    pool_members: int = 2  # kept ready of (python3, egress) before the gateway says anything
    preset_memory_bytes: int = 256 * MEBIBYTE
    preset_scratch_bytes: int = 128 * MEBIBYTE
    preset_cpu_milli: int = 1000
    preset_pids: int = 128

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LauncherSettings:
        """Raises `TypeError` or `ValueError` for anything but the output of `to_json`."""
        return cls(**json.loads(text))
