"""The second run of the deep tests really is one without rights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def test_the_unprivileged_run_refuses_to_pretend() -> None:
    if os.geteuid() == 0:
        pytest.skip("root can become another user")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/unprivileged.py"), "-c", "pass"], check=False, capture_output=True
    )
    assert done.returncode == 2


@pytest.mark.needs_root
def test_the_unprivileged_run_has_no_rights_left() -> None:
    code = (
        "import os; s = open('/proc/self/status').read();"
        "print(os.getresuid(), os.getresgid(), os.getgroups(), 'CapEff:\\t' + 16 * '0' in s, len(os.environ) < 9)"
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/unprivileged.py"), "-c", code],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "(65534, 65534, 65534) (65534, 65534, 65534) [] True True", done.stderr
