"""Give code to a locked member: a read-only clone of its mount, attached inside the member's mount namespace.

Done by the launcher's one thread: clone the tree, enter the namespace, attach, come home. Nothing is copied, the
member needs no right for it, and what it sees is an ordinary directory.
Source: open_tree(2), move_mount(2), setns(2).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from wispd.adapters.engine.process import descriptors, kernel, protocol, rootfs

_ATTRIBUTES: Final = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV


class TreeMissing(Exception):
    """There is no directory for this digest."""


class TreeDamaged(TreeMissing):
    """The directory is there under another name, since its content has changed."""


class Trees:
    """A directory of immutable trees named by digest, reached without following any link."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._directory = -1

    def path(self, digest: str) -> str:
        return os.path.join(self._path, digest)

    def open(self, digest: str) -> int:
        """A path-only descriptor of a tree, the caller's to close. Raises: `TreeMissing`."""
        try:
            if self._directory < 0:
                self._directory = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            return kernel.open_beneath(self._directory, digest, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            kind = TreeDamaged if os.path.isdir(self.path(digest) + protocol.DAMAGED) else TreeMissing
            raise kind(f"{digest[:16]}…: {error.strerror}") from error


class Handover:
    """Mounts into members. Create it after the launcher has its own mount namespace."""

    def __init__(self) -> None:
        kernel.unshare(kernel.CLONE_FS)
        self._home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def give(
        self, pid: int, trees: Sequence[tuple[int, str]], *, scratch_bytes: int = 0, foreign: bool = False
    ) -> None:
        """Attach each (descriptor, target) read-only inside the process's namespace; resize its /tmp if asked.

        `foreign`: a layer zygote made the member, so /tmp may be anything; it gets a new mount instead of a change
        of whatever file system is there.
        Raises `OSError`: the member is then of no use. The process stays our unreaped child all the while, so its
        pid can't be anybody else's.
        """
        opened = [os.pidfd_open(pid)]
        try:
            for directory, _ in trees:
                tree = kernel.open_tree(directory)
                opened.append(tree)
                kernel.mount_setattr(tree, attributes=_ATTRIBUTES)
            kernel.setns(opened[0], kernel.NEWNS)
            try:
                for tree, (_, target) in zip(opened[1:], trees, strict=True):
                    kernel.move_mount(tree, target)
                if scratch_bytes:
                    (rootfs.mount_scratch if foreign else rootfs.resize_scratch)(scratch_bytes)
            finally:
                self._return()
        finally:
            descriptors.close_all(opened)

    def _return(self) -> None:
        try:
            kernel.setns(self._home, kernel.NEWNS)
        except OSError:  # pragma: no cover - never seen; a launcher lost in a sandbox must not go on
            os._exit(70)
