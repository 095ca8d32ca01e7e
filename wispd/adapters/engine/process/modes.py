"""Which way of sandboxing works here, found by trying it, and entering it."""

from __future__ import annotations

import os
from typing import Final

from wispd.adapters.engine.process import kernel, rootfs

_OUTER: Final = kernel.NEWPID | kernel.NEWNS


def choose(wanted: str) -> str:
    """Return the strongest mode that works, or `wanted` if that does. Raises `OSError` when a wanted one does not."""
    if wanted == "process":
        return wanted
    order = ["root"] if os.geteuid() == 0 else []
    order.append("user")
    for mode in order if wanted == "auto" else [wanted]:
        if works(mode):
            return mode
    if wanted == "auto":
        return "process"
    raise OSError(f"mode {wanted} does not work on this host")


def works(mode: str) -> bool:
    """Try everything a mode needs in a child: namespaces, private mounts, an own /proc, a tmpfs, a cloned mount."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            enter(mode)
            inner = os.fork()
            if inner == 0:
                os._exit(_try_mounts())
            status = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
        finally:
            os._exit(status & 0xFF)
    return os.waitpid(pid, 0)[1] == 0


def _try_mounts() -> int:
    try:
        kernel.mount(None, "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
        rootfs.mount_proc()
        kernel.mount("try", "/sys", "tmpfs")
        tree = kernel.open_tree(kernel.AT_FDCWD, "/usr", recursive=True)
        kernel.mount_setattr(tree, attributes=kernel.ATTR_RDONLY, recursive=True)
        kernel.move_mount(tree, "/sys")
    except OSError:
        return 1
    return 0


def enter(mode: str) -> None:
    """Put the calling process's next child into new pid and mount namespaces; `user`: in a user namespace of our own.

    Raises `OSError` where the kernel refuses. In mode `process` nothing is done.
    """
    if mode == "process":
        return
    if mode == "root":
        kernel.unshare(_OUTER)
        return
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(_OUTER | kernel.NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
