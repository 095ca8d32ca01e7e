"""Who the services run as. Started by root, they become an unprivileged uid that owns the data directory."""

from __future__ import annotations

import os
import sys

from msgspec import Struct

from wispd.adapters.engine.process import leases


class Identity(Struct, frozen=True, kw_only=True):
    """The services' uid (and gid). `uid_first` 0: no range is leased, everything runs as the caller."""

    service_uid: int
    uid_first: int = 0
    uid_count: int = 0
    warning: str = ""


def choose(data_dir: str, *, uid_first: int = 0, service_uid: int = -1) -> Identity:
    """Return who the services will be. As root: the first uid of a range that nobody on the host uses.

    `uid_first` and `service_uid` are what was configured, or what this data directory had before; 0 and -1: nothing.
    """
    if os.geteuid() != 0 or sys.platform != "linux":
        return Identity(service_uid=os.geteuid())
    first = uid_first or leases.default_range(data_dir).first
    if not _mapped(first):
        warning = f"uid {first} does not exist in this user namespace: the services keep running as root"
        return Identity(service_uid=0, warning=warning)
    service = service_uid if service_uid >= 0 else first
    return Identity(service_uid=service, uid_first=first, uid_count=leases.RANGE_SIZE)


def _mapped(uid: int) -> bool:
    try:
        with open("/proc/self/uid_map", encoding="ascii") as lines:
            rows = [[int(word) for word in line.split()] for line in lines]
    except OSError:
        return False
    return any(inside <= uid < inside + count for inside, _, count in rows)
