"""Give root up, for good, in a process that root's supervisor started.

The interpreter, the installation or the data directory may lie below a private directory (a 0700 home), which the
service's uid can't pass. Then the process gets a mount namespace of its own, in which that directory is an empty one
of mode 0711 with just those trees in it: what is needed can be reached, and nothing else of it can be seen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from wispd.adapters.engine.process import kernel


def drop(uid: int, paths: Iterable[str]) -> None:
    """Become `uid` (and the gid of that number), with `paths` and the interpreter reachable. Needs root."""
    needed = {os.path.realpath(path) for path in (*paths, *interpreter_paths())}
    private: dict[str, list[str]] = {}
    for path in sorted(needed):
        directory = closed_ancestor(path)
        if directory is not None:
            private.setdefault(directory, []).append(path)
    if private:
        kernel.unshare(kernel.NEWNS)
        kernel.mount(None, "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
        for directory, trees in private.items():
            _open_up(directory, outermost(trees))
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.umask(0o077)
    kernel.no_new_privileges()


def interpreter_paths() -> set[str]:
    """Return the trees that this Python needs: its prefix, the environment, and where the packages are."""
    here = Path(__file__).resolve().parents[2]
    return {sys.base_prefix, sys.prefix, str(here / "wisp"), str(here / "wispd")}


def closed_ancestor(path: str) -> str | None:
    """Return the topmost directory above `path` that others can't pass, None if the way is open."""
    for directory in reversed(Path(path).parents):
        if not directory.stat().st_mode & 0o001:
            return str(directory)
    return None


def outermost(paths: Iterable[str]) -> list[str]:
    """Return those of `paths` that lie in no other of them."""
    kept: list[str] = []
    for path in sorted(paths):
        if not any(path.startswith(other + "/") for other in kept):
            kept.append(path)
    return kept


def _open_up(directory: str, trees: list[str]) -> None:
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    held = [(tree, kernel.open_tree(root, tree.lstrip("/"), recursive=True)) for tree in trees]
    os.close(root)
    kernel.mount("tmpfs", directory, "tmpfs", flags=kernel.MS_NOSUID | kernel.MS_NODEV, options="mode=711,size=64k")
    umask = os.umask(0)
    for tree, fd in held:
        os.makedirs(tree, mode=0o711, exist_ok=True)
        kernel.move_mount(fd, tree)
        os.close(fd)
    os.umask(umask)
