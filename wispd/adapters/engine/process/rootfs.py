"""The read-only root of a sandbox: exactly what Python needs, each thing at its own path, nothing else of the host.

A zygote builds it once in a mount namespace of its own and its members inherit it: a member only adds a /proc and a
/tmp. Parents of bound directories (a private home on the way to an interpreter) are plain directories of mode 0711.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Final

from wispd.adapters.engine.process import egress, kernel
from wispd.adapters.engine.process.runtimes import Runtime

RUNTIME_PATH: Final = "/runtime"  # holds the package `wisp`
SCRATCH_PATH: Final = "/tmp"  # noqa: S108 - inside the sandbox, where it is private
BOOT_PATH: Final = "/boot"  # holds `wispd` until the zygote has imported what it needs
_STAGE: Final = "/sys"  # exists everywhere and is no source: the new root is assembled on top of it
SECRETS_PATH: Final = "/run/secrets"  # leads into the scratch space: a read-only root can hold no file of theirs
_LINKS: Final = ("/lib", "/lib64", "/usr/lib64")
_BINDS: Final = ("/lib64", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ssl/certs", "/etc/pki/ca-trust", "/etc/pki/tls")
_COPIES: Final = ("/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf")
_COPY_MAX: Final = 1_048_576
_FILES: Final = {
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "/etc/passwd": "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/tmp:/sbin/nologin\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
_DEVICES: Final = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}
_READ_ONLY: Final = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID


@dataclass(frozen=True, slots=True)
class RootPlan:
    """What a root is made of; targets are absolute paths inside it."""

    binds: dict[str, str] = field(default_factory=dict)  # target → source
    links: dict[str, str] = field(default_factory=dict)  # path → destination
    files: dict[str, bytes] = field(default_factory=dict)


def plan(runtime: Runtime, *, packages: str, resolver: str) -> RootPlan:
    """Decide what the root for `runtime` holds. Reads only.

    `packages`: the directory with `wisp` and `wispd`. `resolver`: text of the resolv.conf that is seen inside.
    """
    wanted = set(runtime.libraries) | {path for path in _BINDS if os.path.isdir(path)}
    if runtime.prefix in {"/", "/usr"}:  # a distribution's Python: not all of /usr, only its own part
        wanted |= {path for path in runtime.path if os.path.isdir(path)}
        wanted.add(runtime.executable)
    else:
        wanted |= {runtime.prefix, runtime.executable}
    links = {path: os.readlink(path) for path in _LINKS if os.path.islink(path)}
    links[SECRETS_PATH] = f"{SCRATCH_PATH}/.secrets"
    wanted = {os.path.realpath(path) for path in wanted}
    binds = {path: path for path in sorted(wanted) if not _covered(path, wanted)}
    binds[f"{RUNTIME_PATH}/wisp"] = os.path.join(packages, "wisp")
    binds[f"{BOOT_PATH}/wispd"] = os.path.join(packages, "wispd")
    files = {path: text.encode() for path, text in _FILES.items()}
    files["/etc/resolv.conf"] = resolver.encode()
    files |= {path: content for path in _COPIES if (content := _read(path)) is not None}
    resolver = files.get("/etc/resolv.conf", b"").decode(errors="replace")
    files["/etc/resolv.conf"] = egress.resolver_file(resolver).encode()
    return RootPlan(binds, links, files)


def build(plan: RootPlan, *, privileged: bool) -> None:
    """Make the calling process's mount namespace hold this root and nothing else. Needs CAP_SYS_ADMIN.

    `privileged`: device nodes are made; otherwise (in a user namespace) the host's are bound.
    """
    kernel.unshare(kernel.NEWNS)
    kernel.mount(None, "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("root", _STAGE, "tmpfs", flags=kernel.MS_NOSUID, options="size=16m,mode=0755")
    for path, destination in plan.links.items():
        _parents(path)
        os.symlink(destination, _STAGE + path)
    for path, content in plan.files.items():
        _parents(path)
        _write(_STAGE + path, content)
    for target, source in plan.binds.items():
        _bind(source, target, kernel.ATTR_NODEV | _READ_ONLY)
    _devices(privileged)
    for path in ("/proc", SCRATCH_PATH, "/app", "/layer"):
        os.makedirs(_STAGE + path, 0o711, exist_ok=True)
    kernel.mount_setattr(kernel.AT_FDCWD, _STAGE, attributes=_READ_ONLY, recursive=True)
    # A user namespace may mount /proc only where another whole one is in sight, so each root keeps one.
    mount_proc(_STAGE + "/proc")
    os.chdir(_STAGE)
    kernel.pivot_root(".", ".")
    kernel.unmount(".")
    os.chdir("/")


def mount_proc(target: str = "/proc") -> None:
    """Mount the /proc of the caller's own pid namespace."""
    kernel.mount("proc", target, "proc", flags=kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)


def mount_scratch(size_bytes: int) -> None:
    """Mount a private /tmp; /dev/shm points there, so one limit holds for both."""
    kernel.mount(
        "tmp", SCRATCH_PATH, "tmpfs", flags=kernel.MS_NOSUID | kernel.MS_NODEV, options=scratch_options(size_bytes)
    )


def resize_scratch(size_bytes: int) -> None:
    """Change the limit of an existing /tmp."""
    flags = kernel.MS_REMOUNT | kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmp", SCRATCH_PATH, "tmpfs", flags=flags, options=scratch_options(size_bytes))


def scratch_options(size_bytes: int) -> str:
    """Options of a scratch tmpfs; one inode per 16 KiB, as the kernel keeps about 1 KiB for each."""
    return f"size={size_bytes},nr_inodes={max(1024, size_bytes // 16384)},mode=1777"


def _covered(path: str, wanted: set[str]) -> bool:
    """Is a parent of `path` bound anyway?"""
    parent = os.path.dirname(path)
    while parent != "/":
        if parent in wanted:
            return True
        parent = os.path.dirname(parent)
    return False


def _parents(path: str) -> None:
    """Make the directories above a path of the new root, through links as the root itself has them."""
    current = _STAGE
    for name in path.split("/")[1:-1]:
        current = f"{current}/{name}"
        if not os.path.lexists(current):
            os.mkdir(current, 0o711)


def _bind(source: str, target: str, attributes: int) -> None:
    _parents(target)
    place = _STAGE + target
    if stat.S_ISDIR(os.stat(source).st_mode):
        if not os.path.lexists(place):
            os.mkdir(place, 0o711)
    else:
        _write(place, b"")
    tree = kernel.open_tree(kernel.AT_FDCWD, source, recursive=True)
    try:
        kernel.mount_setattr(tree, attributes=attributes, recursive=True)
        kernel.move_mount(tree, place)
    finally:
        os.close(tree)


def _devices(privileged: bool) -> None:
    os.mkdir(_STAGE + "/dev", 0o755)
    for name, (major, minor) in _DEVICES.items():
        if privileged:
            os.mknod(f"{_STAGE}/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
            os.chmod(f"{_STAGE}/dev/{name}", 0o666)  # noqa: S103 - /dev/null and its like
        else:
            _bind(f"/dev/{name}", f"/dev/{name}", kernel.ATTR_NOSUID)
    os.symlink(SCRATCH_PATH, f"{_STAGE}/dev/shm")  # noqa: S108 - inside the sandbox
    for name, destination in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{destination}", f"{_STAGE}/dev/{name}")


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(_COPY_MAX)
    except OSError:
        return None


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, 0o644)
