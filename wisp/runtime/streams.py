"""`sys.stdout`, `sys.stderr` and `logging` of a function, pointed at the capture."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from wisp.runtime.logs import Capture


class CapturedBytes(io.RawIOBase):
    """The `.buffer` of a captured stream."""

    def __init__(self, capture: Capture, descriptor: int) -> None:
        super().__init__()
        self._capture = capture
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def write(self, b: Any, /) -> int:
        text = bytes(b)
        self._capture.write(text, self._descriptor)
        return len(text)

    def fileno(self) -> int:
        return self._descriptor


class CapturedText(io.TextIOBase):
    """A text stream whose text goes to the invocation that prints it; `fileno` is the pipe that children inherit."""

    encoding = "utf-8"
    errors = "backslashreplace"
    line_buffering = True

    def __init__(self, capture: Capture, descriptor: int, name: str) -> None:
        super().__init__()
        self._write = capture.write
        self._descriptor = descriptor
        self.name = name
        self.mode = "w"
        self.buffer = CapturedBytes(capture, descriptor)

    def write(self, s: str, /) -> int:
        if s:
            self._write(s.encode("utf-8", "backslashreplace"), self._descriptor)
        return len(s)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        self.write("".join(lines))

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """A function that closes its output keeps it: the next call needs it."""

    def reconfigure(self, **_: object) -> None:
        """Accepted, so that programs that set their encoding run; it is always UTF-8."""


class Plain(logging.StreamHandler[Any]):
    """Writes `LEVEL message` until the function configures logging of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, _: object) -> None:
        pass


def _basic_config(plain: Plain, original: Callable[..., None]) -> Callable[..., None]:
    """Return a `logging.basicConfig` that our handler on the root logger does not turn into a call without effect."""

    def basic_config(**options: Any) -> None:
        root = logging.getLogger()
        if root.handlers == [plain]:
            if options.keys() <= {"level", "force"}:
                root.setLevel(options.get("level") or root.level)
                return
            root.removeHandler(plain)
        original(**options)

    return basic_config


_live: list[Capture] = []
_plain = Plain()  # made before the fork: making a handler touches much of logging


def _after_fork() -> None:
    for capture in _live:
        capture.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def install(capture: Capture) -> Callable[[], None]:
    """Point the process's output at `capture`; return what undoes it."""
    before = (sys.stdout, sys.stderr, logging.basicConfig)
    plain, root = _plain, logging.getLogger()
    sys.stdout = CapturedText(capture, 1, "<stdout>")
    sys.stderr = CapturedText(capture, 2, "<stderr>")
    root.addHandler(plain)
    logging.basicConfig = _basic_config(plain, logging.basicConfig)
    inherit_contexts()
    _live.append(capture)

    def undo() -> None:
        _live.remove(capture)
        sys.stdout, sys.stderr, logging.basicConfig = before
        root.removeHandler(plain)

    return undo


def inherit_contexts() -> None:
    """Let threads and thread pools run in the context of who gave them work (for good; a zygote does it once)."""
    if threading.Thread.start is not _start_in_context:
        threading.Thread.start = _start_in_context  # type: ignore[method-assign]
        ThreadPoolExecutor.submit = _submit_in_context  # type: ignore[method-assign,assignment]


_start = threading.Thread.start
_submit = ThreadPoolExecutor.submit


def _submit_in_context(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Run what a pool is given in a copy of the giver's context: its threads outlive the call that started them."""
    return _submit(self, copy_context().run, fn, *args, **kwargs)


def _start_in_context(self: threading.Thread) -> None:
    """Start a thread in a copy of the caller's context, so that its output finds its invocation.

    Source: what Python 3.14 calls `thread_inherit_context`.
    """
    run = self.run
    context = copy_context()

    def run_in_context() -> None:
        try:
            context.run(run)
        finally:
            self.__dict__.pop("run", None)

    self.run = run_in_context  # type: ignore[method-assign]
    _start(self)
