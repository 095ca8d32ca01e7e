"""Run the deep tests: as who we are and, where that is root, once more as an unprivileged user.

    .venv/bin/python tools/test_all.py tests/simulation tests/system tests/security

Exit status: 0 when every run passed and ran at least one test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Tests of the sandbox and of whole nodes: what they show depends on who runs them.
PRIVILEGE_MATTERS = ("tests/system", "tests/security")


def main(folders: list[str]) -> int:
    """Run all parts even when one fails, so that one report shows everything."""
    there = [folder for folder in folders if any((ROOT / folder).rglob("test_*.py"))]
    missing = sorted(set(folders) - set(there))
    if missing:
        print(f"test: no tests in {', '.join(missing)}", file=sys.stderr)
        return 5
    failed = part("as " + ("root" if os.geteuid() == 0 else "an unprivileged user"), [], there)
    if os.geteuid() == 0:
        again = [folder for folder in there if folder in PRIVILEGE_MATTERS]
        failed |= part("again, as an unprivileged user", ["tools/unprivileged.py"], again)
    else:
        print("test: not root, so what needs root was skipped", flush=True)
    return int(failed)


def part(title: str, runner: list[str], folders: list[str]) -> bool:
    """Run pytest over the folders; return whether it failed (finding no test is failing)."""
    print(f"\n== {' '.join(folders)}: {title}", flush=True)
    cache = ["-p", "no:cacheprovider", "-m", "not once"] if runner else []
    command = [sys.executable, *runner, "-m", "pytest", *cache, *folders]
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, cwd=ROOT).returncode != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
