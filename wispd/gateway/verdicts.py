"""What the end of an instance means for the invocations it had begun. Pure."""

from __future__ import annotations

from typing import Final

from wispd.base.errors import Fault
from wispd.model.function import MEMORY_CAP
from wispd.model.invocation import Status
from wispd.ports.engine import ExitCause, Exited

RESERVE_MIN: Final = 32 * 1024 * 1024  # what an active instance reserves at least
RESERVE_FACTOR: Final = 1.25  # over the peak that was observed


def verdict(exited: Exited, *, ready: bool, memory_bytes: int, grown_bytes: int) -> tuple[Status, Fault]:
    """Return status and reason for invocations that an instance of `memory_bytes` did not finish.

    `ready`: it had initialised. `grown_bytes` is the size that new instances get, equal where memory is fixed or at
    its cap.
    """
    if exited.cause is ExitCause.MEMORY_EXHAUSTED:
        message = f"the function used more than its {memory_bytes >> 20} MB of memory"
        if grown_bytes > memory_bytes:
            message += f'; memory = "auto": new instances get {grown_bytes >> 20} MB'
        else:
            message += "; set a larger memory"
        return Status.MEMORY_EXHAUSTED, Fault("memory_exhausted", message, memory_bytes=memory_bytes)
    how = {
        ExitCause.EXITED: f"it exited with code {exited.status}",
        ExitCause.SIGNALLED: f"it was ended by signal {exited.status}",
        ExitCause.LAUNCHER_LOST: "the launcher was restarted",
    }.get(exited.cause, "it was stopped")
    if not ready and exited.cause in (ExitCause.EXITED, ExitCause.SIGNALLED):
        message = f"the instance ended while the function's code was being imported: {how}"
        return Status.ERROR, Fault("init_failed", message, cause=exited.cause.name.lower())
    fault = Fault("instance_lost", f"the instance is gone: {how}", cause=exited.cause.name.lower())
    return Status.INSTANCE_LOST, fault


def grown(memory_bytes: int, *, automatic: bool) -> int:
    """Return the size of the next instance after one ran out of memory."""
    return min(memory_bytes * 2, max(MEMORY_CAP, memory_bytes)) if automatic else memory_bytes


def reserve(peak_bytes: int, memory_bytes: int) -> int:
    """Return what one active instance counts against the node's budget."""
    return min(max(RESERVE_MIN, int(peak_bytes * RESERVE_FACTOR)), max(memory_bytes, RESERVE_MIN))
