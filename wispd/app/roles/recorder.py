"""The recorder process: indexes record segments, folds usage, answers the doorbell.

It yields to everything else (nice, batch scheduling, lowest best-effort I/O) but is not put into the idle class: on a
machine whose cores are all busy that class is starved for minutes, and then records would have to be dropped.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import selectors
import signal
from pathlib import Path
from types import FrameType
from typing import Final

from wispd.adapters.store.records_doorbell import SOCKET_NAME, Doorbell
from wispd.app.boot import BootLink
from wispd.app.pacing import short_turns
from wispd.app.recording import Recorder
from wispd.app.scheduling import BATCH, RECORDER_SLICE_NS, ask_slice
from wispd.base.clock import SystemClock

_POLL_S: Final = 0.5  # a power loss costs what was not indexed: so much, and the time of a commit
_NICE: Final = 10
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_IOPRIO_LOWEST: Final = 2 << 13 | 7  # best effort, level 7; source: ioprio_set(2)


def run(boot: BootLink) -> int:
    """Record until the supervisor says drain or is gone."""
    step_back()
    records = Path(boot.settings.data_dir) / "records"
    recorder = Recorder(records, SystemClock())
    doorbell = Doorbell(Path(boot.settings.data_dir) / "run" / SOCKET_NAME)
    boot.ready()
    try:
        if _serve(boot, recorder, doorbell):
            recorder.pass_once()
            boot.drained()
    finally:
        doorbell.close()
        recorder.close()
    return 0


def _serve(boot: BootLink, recorder: Recorder, doorbell: Doorbell) -> bool:
    """Return True when asked to drain, False when the supervisor is gone."""
    stop: list[int] = []

    def stopped(number: int, _frame: FrameType | None) -> None:
        stop.append(number)

    signal.signal(signal.SIGTERM, stopped)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor, which tells us
    with selectors.DefaultSelector() as selector:
        selector.register(boot, selectors.EVENT_READ)
        selector.register(doorbell, selectors.EVENT_READ)
        while not stop:
            ready = [key.fileobj for key, _ in selector.select(_POLL_S)]
            if boot in ready:
                received = boot.receive()
                if received is None:
                    return False
                if received[0].type == "drain":
                    return True
            callers = doorbell.callers() if doorbell in ready else []
            if any(word == "index" for _, word in callers) or recorder.behind:
                recorder.pass_once()  # somebody waits, or there is more than can be done in short turns
            elif not callers:
                with short_turns():
                    recorder.pass_once()
            doorbell.answer(callers, recorder.status())
    return True


def step_back() -> None:
    """Let everything else go first, as far as the kernel allows it."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    ask_slice(RECORDER_SLICE_NS, policy=BATCH, nice=_NICE)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _IOPRIO_LOWEST)


__all__ = ["run", "step_back"]
