"""What a failed write means for the writer: one change refused, or no change taken any more. Pure.

After a failed fsync the kernel calls the pages clean that it could not write: a second fsync succeeds, and says
nothing. So what is on the disk is unknown until everything is read and written anew, which a restart does.
"""

from __future__ import annotations

from typing import Final, Literal

from wispd.base.errors import Fault
from wispd.ports.catalogue import StorageFailed

Step = Literal["change", "commit", "journal"]
RESTART: Final = "no changes are taken until the node is restarted (`wisp down`, `wisp up`); calls and reads go on"


def lasting(error: BaseException, step: Step) -> bool:
    """Is nothing to be written after this? Where the disk is full, room may come; a change may fail by itself.

    A commit or a journal write that failed for any other reason may be half on the disk: that lasts.
    """
    if isinstance(error, StorageFailed):
        return True
    full = isinstance(error, Fault) and error.code == "storage_full"
    return step != "change" and not full


def refusal(reason: str) -> Fault:
    """Return what a change is answered with after such a failure."""
    return Fault("unavailable", f"the store is read-only: {reason}; {RESTART}")
