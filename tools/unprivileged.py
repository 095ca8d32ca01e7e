"""Run the given command's Python part as an unprivileged user, from a copy of this checkout that the user can read.

    .venv/bin/python tools/unprivileged.py -m pytest tests/system

As root only. The checkout and the interpreter may be below a private home, so the tree and `.venv` are copied below
/tmp, and in a mount namespace of its own the interpreter's prefix is shown again at its own path. The user (uid and
gid 65534, no other group) gets a private HOME and TMPDIR. The exit status is the command's.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

UID = 65534
ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = (".git", "bench/out", "bench/.venv", ".mypy_cache", ".pytest_cache", ".hypothesis", "__pycache__")
CLONE_NEWNS = 0x00020000  # Source: linux/sched.h
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000  # Source: linux/mount.h

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> int:
    """Copy, drop, run; return the exit status."""
    if os.geteuid() != 0:
        print("unprivileged: only root can become another user; run the command itself", file=sys.stderr)
        return 2
    base = Path(tempfile.mkdtemp(prefix="wisp-u", dir="/tmp"))
    try:
        copy = copy_checkout(base)
        return run(arguments, base, copy)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def copy_checkout(base: Path) -> Path:
    """Copy tree and environment to where everybody can read them, and let the copy's Wisp be the copy's own."""
    copy = base / "tree"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=_left_out)
    for path in (copy / ".venv/lib").glob("python*/site-packages/*.pth"):
        _replace(path, copy)
    for path in (copy / ".venv/bin").iterdir():
        if path.is_file() and not path.is_symlink():
            _replace(path, copy)
    subprocess.run(["chmod", "-R", "go+rX,go-w", base], check=True)
    for name in ("home", "tmp"):
        (base / name).mkdir(mode=0o700)
        os.chown(base / name, UID, UID)
    return copy


def _left_out(folder: str, names: list[str]) -> set[str]:
    place = Path(folder).relative_to(ROOT)
    return {name for name in names if str(place / name) in LEFT_OUT or name in LEFT_OUT}


def _replace(path: Path, copy: Path) -> None:
    """Let a script or path file of the environment name the copy in place of the original."""
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return  # a program of its own: ruff, say
    if str(ROOT) in text:
        path.write_text(text.replace(str(ROOT), str(copy)))


def run(arguments: list[str], base: Path, copy: Path) -> int:
    """Run the copy's Python in a child that has given everything up; interrupts are the child's to answer."""
    environment = {
        "HOME": str(base / "home"),
        "TMPDIR": str(base / "tmp"),
        "PATH": f"{copy}/.venv/bin:/usr/local/bin:/usr/bin:/bin",
        "USER": "nobody",
        "LOGNAME": "nobody",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        **{name: os.environ[name] for name in ("CI",) if name in os.environ},
    }
    child = os.fork()
    if child == 0:
        try:
            become_nobody()
            os.chdir(copy)
            os.umask(0o022)
            python = str(copy / ".venv/bin/python")
            os.execve(python, [python, *arguments], environment)
        except BaseException as failed:  # a forked child must never return into its parent's code
            print(f"unprivileged: {failed}", file=sys.stderr, flush=True)
        os._exit(70)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def become_nobody() -> None:
    """Show the interpreter to everybody, in a mount namespace of our own, and give up root for good."""
    hidden = first_closed(Path(sys.base_prefix))
    if hidden is not None:
        show(Path(sys.base_prefix), hidden)
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)


def first_closed(path: Path) -> Path | None:
    """Return the topmost folder above `path` that others may not enter."""
    for folder in (*reversed(path.parents), path):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def show(prefix: Path, hidden: Path) -> None:
    """Cover the closed folder by an empty one in which nothing but the prefix can be seen."""
    if _libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), f"{hidden} is closed to other users and no mount namespace can be had")
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    kept = os.open(prefix, os.O_PATH)
    _mount("tmpfs", str(hidden), "tmpfs", 0, "mode=0755,size=1m")
    prefix.mkdir(parents=True, exist_ok=True)
    _mount(f"/proc/self/fd/{kept}", str(prefix), "", MS_BIND | MS_REC)
    os.close(kept)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    names: Iterator[bytes] = (text.encode() for text in (source, target, kind))
    if _libc.mount(*names, ctypes.c_ulong(flags), options.encode() or None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {source} at {target}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
