"""Messages between the launcher and its zygotes, trusted ones and layers': fixed structs over SEQPACKET.

What comes back from a layer zygote is hostile: a number the launcher chose and a pid the kernel vouches for
(SCM_CREDENTIALS), nothing else is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

# launcher → zygote
FORK: Final = 1  # a member; descriptors: link, log, with NETWORK a network namespace
LAYER: Final = 2  # a layer sandbox with its zygote; descriptors: the zygote's orders, its reports
IMPORT: Final = 3  # (layer zygote) the layer is mounted: import it
# process → launcher, on the report socket
BORN: Final = 6  # a member has a process; its control group can be made while it locks itself
READY: Final = 1  # a member is locked and rehearsed; descriptor: the seccomp notifier, if any
FAILED: Final = 2  # no member of this number; text follows
LAYER_INIT: Final = 3  # first process of a layer sandbox
LAYER_ZYGOTE: Final = 4  # its zygote waits for IMPORT
ZYGOTE_READY: Final = 5  # the zygote forks from now on; `value`: threads it has (above 1: must not fork)

ORDER: Final = Struct("<BBHIQQ")  # type, network index, bits, uid, number, scratch bytes
REPORT: Final = Struct("<BxHxxxxQ")  # type, 0, value, number
REPORT_MAX: Final = 1024

# bits of a FORK
REHEARSE: Final = 1  # see ForkOrder
NETWORK: Final = 2  # a network namespace comes along; without it the member gets a fresh one

ORDERS_FD: Final = 3
REPORTS_FD: Final = 4

MODES: Final = ("root", "user", "process")


@dataclass(frozen=True, slots=True)
class ZygoteSettings:
    """How a zygote makes members; its first message, as JSON.

    `mode`: root (a leased uid each), user (nested user namespace), process (no namespaces at all).
    `uid_first` and `uid_count`: the leased range, mapped to itself in a layer's user namespace.
    """

    mode: str
    path: tuple[str, ...]
    uid_first: int = 0
    uid_count: int = 0


@dataclass(frozen=True, slots=True)
class ForkOrder:
    """One member to fork. `uid` 0: keep the own one.

    `rehearse`: for the pool. A start that waits for this very member pays for the pages it writes to only once, and
    a rehearsal would make it wait for more of them.
    """

    number: int
    uid: int
    network: str
    scratch_bytes: int
    rehearse: bool = True
    own_network: bool = True  # it made its network namespace itself
