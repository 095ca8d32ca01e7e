"""Driver: plays the gateway to `serve()`, which runs in a process of its own over a real SEQPACKET pair."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from wisp.runtime import frames

ROOT = Path(__file__).resolve().parents[3]
_CHILD = """
import os, socket, sys
sys.path.insert(0, {root!r})
import wisp.runtime
link = socket.socket(fileno={fd})
{before}
wisp.runtime.serve(link)
sys.stdout.flush()
os._exit(0)
"""
TIMEOUT_S = 20.0


class Outcome(NamedTuple):
    """One answer, put together from its frames."""

    flags: int
    status: int
    block: bytes
    log: bytes  # LOG frames of the call and what came with the outcome
    dropped: int
    body: bytes
    pieces: list[bytes]
    frames: list[frames.Frame]

    @property
    def headers(self) -> dict[str, str]:
        pairs = [line.split(": ", 1) for line in self.block.decode("latin-1").split("\r\n") if line]
        return {name.lower(): value for name, value in pairs}

    @property
    def is_error(self) -> bool:
        return bool(self.flags & frames.ERROR)

    def json(self) -> Any:
        return json.loads(self.body)


class Driver:
    """One instance. `code` is the text of its module, or a folder that is there already."""

    def __init__(
        self,
        folder: Path,
        code: str | None = None,
        *,
        before: str = "",
        pair: tuple[socket.socket, socket.socket] | None = None,
        **settings: Any,
    ) -> None:
        if code is not None:
            folder.mkdir(exist_ok=True)
            (folder / "main.py").write_text(textwrap.dedent(code))
        self.settings = {"function": "demo", "version": 3, "code": str(folder), "mount": "/fn/demo", **settings}
        self.link, theirs = pair or socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.settimeout(TIMEOUT_S)
        source = _CHILD.format(root=str(ROOT), fd=theirs.fileno(), before=before)
        environment = {key: value for key, value in os.environ.items() if key.startswith(("LANG", "LC_", "PATH"))}
        self.process = subprocess.Popen(
            [os.environ.get("WISP_TEST_PYTHON", sys.executable), "-c", source],  # to try another Python
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        if pair is None:
            theirs.close()
        self.waiting: deque[frames.Frame] = deque()
        self.stray: list[frames.Frame] = []  # LOG frames of no call
        self.numbers = 0
        self.dialect = ""

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.link.close()
        try:
            self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            raise
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()

    # ── frames ──────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, type_: int, call: int = 0, **parts: Any) -> None:
        self.link.send(frames.pack(type_, call, **parts))

    def receive(self) -> frames.Frame:
        packet = self.link.recv(frames.PACKET_MAX)
        if not packet:
            raise EOFError
        frame = frames.parse(packet)
        assert frame.type in frames.FROM_INSTANCE
        return frame

    def next(self, matches: Callable[[frames.Frame], bool]) -> frames.Frame:
        """Return the next frame that matches; others wait for whoever wants them."""
        for frame in self.waiting:
            if matches(frame):
                self.waiting.remove(frame)
                return frame
        while True:
            frame = self.receive()
            if matches(frame):
                return frame
            if frame.type == frames.LOG and frame.call == 0:
                self.stray.append(frame)
            else:
                self.waiting.append(frame)

    def begin(self) -> frames.Frame:
        """Say HELLO and INIT; return READY or FAILED."""
        self.send(frames.HELLO, meta=frames.VERSION)
        self.send(frames.INIT, head=json.dumps(self.settings).encode())
        hello = self.next(lambda frame: frame.type == frames.HELLO)
        assert hello.meta == frames.VERSION
        answer = self.next(lambda frame: frame.type in (frames.READY, frames.FAILED))
        if answer.type == frames.READY:
            self.dialect = frames.DIALECTS[answer.meta]
        return answer

    def ready(self) -> Driver:
        answer = self.begin()
        assert answer.type == frames.READY, (answer.head, answer.body)
        return self

    def failed(self) -> frames.Frame:
        answer = self.begin()
        assert answer.type == frames.FAILED
        return answer

    def output(self) -> str:
        """Return what the process wrote to its pipe; it must have ended."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()

    def ended(self) -> bool:
        """Wait for the end of the link and the process."""
        try:
            while True:
                self.waiting.append(self.receive())
        except (EOFError, ConnectionError):
            pass
        self.process.wait(TIMEOUT_S)
        return True

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────

    def http(
        self,
        target: str = "/",
        *,
        method: str = "GET",
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        **extra: Any,
    ) -> int:
        """Send an HTTP request below the mount; return its number."""
        mount = self.settings["mount"]
        lines = [f"{method} {mount}{target} 127.0.0.1:4711", "host: example.org:8080"]
        lines += [f"{name}: {value}" for name, value in headers]
        return self.invoke("\r\n".join([*lines, ""]), body, flags=frames.HTTP, mount=len(mount), **extra)

    def event(self, body: bytes = b"", headers: tuple[tuple[str, str], ...] = (), **extra: Any) -> int:
        """Send an event that did not come over HTTP; return its number."""
        lines = ["EVENT / -", "ce-specversion: 1.0", *(f"{name}: {value}" for name, value in headers)]
        return self.invoke("\r\n".join([*lines, ""]), body, **extra)

    def invoke(
        self,
        block: str,
        body: bytes = b"",
        *,
        flags: int = 0,
        mount: int = 0,
        more: bool = False,
        deadline_s: float = 30,
        attempt: int = 0,
    ) -> int:
        self.numbers += 1
        number = self.numbers
        head = frames.INVOKE_HEAD.pack(
            time.monotonic_ns() + int(deadline_s * 1e9), 1_750_000_000_000_000, number.to_bytes(16, "big"), mount, 0
        )
        rest = body[frames.BODY_MAX :]
        flags |= frames.MORE if more or rest else 0
        self.send(
            frames.INVOKE,
            number,
            flags=flags,
            meta=attempt,
            head=head + block.encode("latin-1"),
            body=body[: frames.BODY_MAX],
        )
        if rest:
            for packet in frames.pack_body(number, rest, more=more):
                self.link.send(packet)
        return number

    def body(self, number: int, body: bytes, *, more: bool = False) -> None:
        for packet in frames.pack_body(number, body, more=more):
            self.link.send(packet)

    def outcome(self, number: int, *, window: bool = False) -> Outcome:
        """Return the whole answer of a call; `window`: grant what arrives."""
        log = b""
        got: list[frames.Frame] = []
        while True:
            frame = self.next(
                lambda one: one.call == number and one.type in (frames.OUTCOME, frames.BODY, frames.LOG)
            )
            if frame.type == frames.LOG:
                log += frame.body
                continue
            got.append(frame)
            if window and frame.body:
                self.send(frames.WINDOW, number, head=frames.WINDOW_HEAD.pack(len(frame.body)))
            if not frame.flags & frames.MORE:
                return assembled(got, log)

    def get(self, target: str = "/", **request: Any) -> Outcome:
        return self.outcome(self.http(target, **request))


def assembled(got: list[frames.Frame], log: bytes) -> Outcome:
    first = got[0]
    _, _, block_len, log_len, dropped = frames.OUTCOME_HEAD.unpack_from(first.head)
    start = frames.OUTCOME_HEAD.size
    assert len(first.head) == start + block_len + log_len
    assert all(frame.type == frames.BODY for frame in got[1:])
    flags = first.flags | (got[-1].flags & frames.ERROR)
    text = first.head[start + block_len :]
    pieces = [frame.body for frame in got]
    return Outcome(
        flags, first.meta, first.head[start : start + block_len], log + text, dropped, b"".join(pieces), pieces, got
    )
