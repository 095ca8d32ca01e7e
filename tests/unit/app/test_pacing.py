"""Short turns end cleanly, however their alarms and their ends meet."""

from __future__ import annotations

import signal
import subprocess
import sys

PROGRAM = """
import time
from wispd.app.pacing import short_turns
for _ in range(1500):
    with short_turns():
        end = time.perf_counter() + 0.0004
        while time.perf_counter() < end:
            pass
print("whole")
"""


def test_an_alarm_on_its_way_when_the_block_ends_harms_nobody() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"whole\n"


def test_negative_control_an_alarm_without_a_handler_ends_the_process() -> None:
    source = "import signal, time\nsignal.setitimer(signal.ITIMER_REAL, 0.001)\ntime.sleep(5)\n"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGALRM
