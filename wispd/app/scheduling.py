"""How long a turn on the CPU a process asks for.

The scheduler lets a running process finish its slice (about 3 ms) before one that just woke up gets the CPU, unless
the one that woke asks for a shorter slice. The gateway works in microseconds and must not wait milliseconds behind
work that nobody waits for. Source: sched_setattr(2); custom slices and PREEMPT_SHORT came with Linux 6.12, older
kernels take the call and ignore the slice.
"""

from __future__ import annotations

import ctypes
import os
import platform
from struct import Struct
from typing import Final

GATEWAY_SLICE_NS: Final = 200_000
RECORDER_SLICE_NS: Final = 100_000  # the shortest there is
OTHER: Final = 0  # SCHED_OTHER
BATCH: Final = 3  # SCHED_BATCH
_ATTRIBUTES: Final = Struct("<IIQiIQQQII")  # size, policy, flags, nice, priority, runtime, deadline, period, clamps
_NUMBERS: Final = {"x86_64": 314, "aarch64": 274}


def ask_slice(slice_ns: int, *, policy: int = OTHER, nice: int = 0) -> bool:
    """Ask for turns of `slice_ns` (0.1 to 100 ms); False where the kernel does not know the call."""
    number = _NUMBERS.get(platform.machine())
    if number is None or platform.system() != "Linux":
        return False
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, 0, nice, 0, slice_ns, 0, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(number, os.getpid(), ctypes.create_string_buffer(attributes), 0) == 0)
