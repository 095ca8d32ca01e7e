"""Start a node in a session of its own: one that outlives its caller, or a temporary one that ends with it."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from wispd.app.directory import holder_of
from wispd.app.settings import Settings
from wispd.base.clock import SystemClock
from wispd.base.errors import CODES, Fault

START_S: Final = 90.0
END_S: Final = 20.0  # for a temporary node to end after its caller's word
STALE_S: Final = 60.0  # what is younger may be starting
PREFIX: Final = "wisp-run-"
PARENT_MAX: Final = 60  # bytes; the paths of Unix sockets are short
_LOOK_S: Final = 0.05


class Started:
    """A node that is ready. `serving` is what `wispd.app.node.Serving` says."""

    def __init__(self, process: subprocess.Popen[bytes], serving: dict[str, Any], caller_fd: int = -1) -> None:
        self.process = process
        self.serving = serving
        self._caller_fd = caller_fd

    def end(self, data_dir: Path) -> None:
        """End a temporary node and wait until nothing is left of it."""
        if self._caller_fd >= 0:
            os.close(self._caller_fd)
            self._caller_fd = -1
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(data_dir, ignore_errors=True)  # it did so itself, unless it was killed


def start(settings: Settings, *, temporary: bool = False) -> Started:
    """Start a node and wait for its word; `temporary`: it ends when this process does, however that happens.

    Raises: `Fault` when it can't start.
    """
    ready, ready_theirs = os.pipe()
    caller_theirs, caller = os.pipe() if temporary else (-1, -1)
    arguments = [str(ready_theirs), msgspec.json.encode(settings).decode()]
    if temporary:
        arguments.append(str(caller_theirs))
    passed = [fd for fd in (ready_theirs, caller_theirs) if fd >= 0]
    try:
        process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            [sys.executable, "-I", "-m", "wispd.app.node", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=passed,
            cwd="/",
        )
    finally:
        for fd in passed:
            os.close(fd)
    try:
        serving = _serving(process, ready)
    except BaseException:
        if caller >= 0:
            os.close(caller)
        raise
    if not temporary:
        process.returncode = 0  # it outlives us: nobody waits for it
    return Started(process, serving, caller)


def temporary_dir() -> Path:
    """Return a fresh path for a temporary node, and remove what killed ones have left."""
    parent = Path(tempfile.gettempdir())
    if len(os.fsencode(parent)) > PARENT_MAX:
        parent = Path("/tmp")  # noqa: S108  (a fresh name that nobody can guess, made 0700)
    for path in parent.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            old = SystemClock.unix_ns() / 1e9 - status.st_mtime > STALE_S
            if old and path.is_dir() and not path.is_symlink() and os.access(path, os.W_OK) and not holder_of(path):
                shutil.rmtree(path, ignore_errors=True)
    return parent / f"{PREFIX}{secrets.token_hex(5)}"


def _serving(process: subprocess.Popen[bytes], ready: int) -> dict[str, Any]:
    with open(ready, "rb", buffering=0) as outcome:
        content = _read_all(outcome.fileno(), START_S)
    if content is None:
        process.terminate()
        raise Fault("unavailable", f"the node was not ready within {START_S:.0f} s")
    told = msgspec.json.decode(content) if content else {"code": "internal", "message": "the node ended at once"}
    if "code" in told:
        process.wait()
        raise Fault(told["code"] if told["code"] in CODES else "internal", told["message"])
    return dict(told)


def _read_all(fd: int, timeout_s: float) -> bytes | None:
    """Return what comes until the end of file; None when that takes too long."""
    deadline_ns = SystemClock.monotonic_ns() + int(timeout_s * 1e9)
    content = b""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while SystemClock.monotonic_ns() < deadline_ns:
            if selector.select(_LOOK_S):
                piece = os.read(fd, 65_536)
                if not piece:
                    return content
                content += piece
    return None
