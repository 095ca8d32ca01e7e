"""Pick the control groups of this host for one data directory."""

from __future__ import annotations

import hashlib
import os

from wispd.adapters.engine.process.cgroup import Groups, NoGroups, Places, places
from wispd.adapters.engine.process.cgroup1 import GroupsV1
from wispd.adapters.engine.process.cgroup2 import GroupsV2


def group_name(directory: str) -> str:
    """The name of a node's parent group: the same for every launcher of a data directory."""
    return "wisp-" + hashlib.sha256(os.path.realpath(directory).encode()).hexdigest()[:12]


def find_groups(directory: str, *, memory_bytes: int = 0, clean: bool = False, found: Places | None = None) -> Groups:
    """Return the groups that can really be used: version 2 where it offers controllers, else version 1, else none.

    `clean`: first kill and remove what a former launcher of the same data directory left.
    """
    own = found or places()
    name = group_name(directory)
    if own.two:
        two = GroupsV2(own.two, name, memory_bytes=memory_bytes)
        if two.controllers:
            if clean:
                two.clean()
                two = GroupsV2(own.two, name, memory_bytes=memory_bytes)
            return two
    one = GroupsV1(own.one, name, memory_bytes=memory_bytes)
    if one.controllers and clean:
        one.clean()
        one = GroupsV1(own.one, name, memory_bytes=memory_bytes)
    return one if one.controllers else NoGroups()
