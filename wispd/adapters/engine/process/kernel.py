"""Linux system calls the standard library of Python 3.11 lacks. Each wrapper raises `OSError` and does no more.

Importing this file works on every system; the calls raise `OSError(ENOSYS)` where the kernel or the machine
architecture is not known. Source: the manual pages of section 2, include/uapi/linux/*.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from typing import Final

NEWNS: Final = 0x0002_0000
NEWUTS: Final = 0x0400_0000
NEWIPC: Final = 0x0800_0000
NEWUSER: Final = 0x1000_0000
NEWPID: Final = 0x2000_0000
NEWNET: Final = 0x4000_0000
CLONE_PARENT: Final = 0x0000_8000
CLONE_FS: Final = 0x0000_0200

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

ATTR_RDONLY: Final = 1
ATTR_NOSUID: Final = 2
ATTR_NODEV: Final = 4
ATTR_NOEXEC: Final = 8
AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
OPEN_TREE_CLONE: Final = 1
MOVE_MOUNT_F_EMPTY_PATH: Final = 4
RESOLVE_BENEATH_PLAIN: Final = 0x08 | 0x04 | 0x02  # BENEATH, NO_SYMLINKS, NO_MAGICLINKS

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
CAPABILITY_VERSION: Final = 0x2008_0522
CAP_SETPCAP: Final = 8
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3

_SIGCHLD: Final = 17
_MACHINES: Final = {  # clone, pivot_root, capset; the newer calls have one number everywhere
    "x86_64": (56, 155, 126),
    "aarch64": (220, 41, 91),
}
_NR_OPEN_TREE, _NR_MOVE_MOUNT, _NR_CLONE3, _NR_OPENAT2, _NR_MOUNT_SETATTR = 428, 429, 435, 437, 442
_NR_CLONE, _NR_PIVOT_ROOT, _NR_CAPSET = _MACHINES.get(platform.machine(), (-1, -1, -1))


def _libraries() -> tuple[ctypes.CDLL, ctypes.PyDLL] | None:
    if not sys.platform.startswith("linux") or _NR_CLONE < 0:
        return None
    return ctypes.CDLL(None, use_errno=True), ctypes.PyDLL(None, use_errno=True)


_LIBRARIES: Final = _libraries()


def _libc() -> ctypes.CDLL:
    if _LIBRARIES is None:
        raise OSError(errno.ENOSYS, f"no system calls for {sys.platform} on {platform.machine()}")
    return _LIBRARIES[0]


def _check(result: int, call: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
    return result


def _bytes(text: str | bytes | None) -> bytes | None:
    return text.encode() if isinstance(text, str) else text


class _CloneArgs(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls")
    ]


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


class _OpenHow(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


def clone(flags: int) -> int:
    """Fork with namespace flags in one call; 0 in the child, its pid in the parent.

    Like `os.fork` for the interpreter. `CLONE_PARENT` makes the child a sibling. Falls back to the older `clone`
    where `clone3` is filtered (ENOSYS). Only a process of one thread may call it.
    """
    if _LIBRARIES is None:
        raise OSError(errno.ENOSYS, "clone")
    # PyDLL keeps the interpreter's lock: nothing of Python may run between the call and the after-fork hooks.
    syscall = _LIBRARIES[1].syscall
    # With CLONE_PARENT the kernel takes the signal from the caller's own, and clone3 wants a zero.
    arguments = _CloneArgs(flags=flags, exit_signal=0 if flags & CLONE_PARENT else _SIGCHLD)
    reference = ctypes.byref(arguments)
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = syscall(_NR_CLONE3, reference, 64)
    if pid < 0 and ctypes.get_errno() == errno.ENOSYS:
        pid = syscall(_NR_CLONE, ctypes.c_ulong(flags | _SIGCHLD), None, None, None, None)
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    return _check(int(pid), "clone")


def unshare(flags: int) -> None:
    _check(_libc().unshare(flags), "unshare")


def setns(fd: int, flags: int = 0) -> None:
    """Enter namespaces of `fd`: a namespace file, or a pidfd with the NEW* flags of what to enter."""
    _check(_libc().setns(fd, flags), "setns")


def mount(
    source: str | None, target: str, kind: str | None = None, *, flags: int = 0, options: str | None = None
) -> None:
    result = _libc().mount(_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(options))
    _check(result, f"mount {target}")


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    _check(_libc().umount2(_bytes(target), flags), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    _check(_libc().syscall(_NR_PIVOT_ROOT, _bytes(new_root), _bytes(put_old)), "pivot_root")


def open_tree(directory_fd: int, path: str = "", *, recursive: bool = False) -> int:
    """Clone the mount at a path (or at `directory_fd` itself when `path` is empty); close-on-exec."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | (0 if path else AT_EMPTY_PATH) | (AT_RECURSIVE if recursive else 0)
    return _check(_libc().syscall(_NR_OPEN_TREE, directory_fd, _bytes(path), flags), f"open_tree {path}")


def move_mount(tree_fd: int, target: str) -> None:
    """Attach a tree of `open_tree` at `target`; a symbolic link there is not followed."""
    call = _libc().syscall
    result = call(_NR_MOVE_MOUNT, tree_fd, b"", AT_FDCWD, _bytes(target), MOVE_MOUNT_F_EMPTY_PATH)
    _check(result, f"move_mount {target}")


def mount_setattr(fd: int, path: str = "", *, attributes: int, recursive: bool = False) -> None:
    """Add attributes (ATTR_*) to a mount, or with `recursive` to all mounts below it."""
    wanted = _MountAttr(attributes, 0, 0, 0)
    flags = (0 if path else AT_EMPTY_PATH) | (AT_RECURSIVE if recursive else 0)
    result = _libc().syscall(_NR_MOUNT_SETATTR, fd, _bytes(path), flags, ctypes.byref(wanted), 32)
    _check(result, f"mount_setattr {path}")


def open_beneath(directory_fd: int, name: str, flags: int) -> int:
    """Open below a directory; `..`, absolute paths and links of any kind are refused (ELOOP, EXDEV)."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, RESOLVE_BENEATH_PLAIN)
    return _check(_libc().syscall(_NR_OPENAT2, directory_fd, _bytes(name), ctypes.byref(how), 24), f"openat2 {name}")


def _prctl(option: int, second: int, third: int = 0) -> int:
    call = _libc().prctl
    zero = ctypes.c_ulong(0)
    return _check(call(option, ctypes.c_ulong(second), ctypes.c_ulong(third), zero, zero), f"prctl {option}")


def die_with_parent(signal: int = 9) -> None:
    """Ask for `signal` when the parent ends. A change of uid clears it: call it after that."""
    _prctl(PR_SET_PDEATHSIG, signal)


def no_new_privileges() -> None:
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_dumpable(dumpable: bool) -> None:
    _prctl(PR_SET_DUMPABLE, int(dumpable))


def become_subreaper() -> None:
    """Adopt orphaned descendants, so that they can be found and killed where there is no pid namespace."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def drop_bounding_capabilities() -> None:
    """Drop every capability from the bounding set and clear the ambient set. Needs CAP_SETPCAP."""
    _prctl(PR_CAP_AMBIENT, 4)
    for capability in range(64):
        try:
            _prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return  # beyond the kernel's last capability
            raise


def clear_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    empty = (ctypes.c_uint32 * 6)()
    _check(_libc().syscall(_NR_CAPSET, header, empty), "capset")


def set_name(name: str) -> None:
    """Set what `ps` shows (15 bytes)."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _check(_libc().prctl(PR_SET_NAME, buffer, 0, 0, 0), "prctl name")


def keep_freed_memory(size_bytes: int) -> None:
    """Let the C library keep up to this much of what was freed, instead of returning it and faulting it in again.

    Inherited by forks. Not in every C library: then nothing happens. Source: mallopt(3).
    """
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, size_bytes)
        mallopt(M_MMAP_THRESHOLD, size_bytes)


def set_hostname(name: str) -> None:
    """Set the host name of the own UTS namespace."""
    encoded = name.encode()
    _check(_libc().sethostname(encoded, len(encoded)), "sethostname")
