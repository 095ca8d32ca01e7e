"""What a layer zygote imports before it forks. Runs inside the layer's sandbox, where foreign code belongs."""

from __future__ import annotations

import csv
import glob
import importlib
import os
import sys
from typing import Final

MOUNT: Final = "/layer"
PRELOAD: Final = ".wisp-preload"  # one module a line, learned when the layer was tried; else top-level packages
MODULES_MAX: Final = 8
LISTED_MAX: Final = 64  # modules a .wisp-preload may name
SCRATCH_BYTES: Final = 64 << 20
# Numeric libraries start a thread per CPU of the host when they load, and a process with threads must not fork. An
# instance has one CPU unless it asks for more, so one thread is what suits it.
ONE_THREAD: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def import_all(root: str = MOUNT) -> int:
    """Put the layer on `sys.path`, import what it asks for, and return the number of threads there are afterwards.

    A module that fails is left to the function that imports it, where its error is seen.
    """
    sys.path.append(root)
    for name in ONE_THREAD:
        os.putenv(name, "1")
    for name in modules(root):
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: S112 - foreign code raises what it likes
            continue
    for name in ONE_THREAD:
        os.unsetenv(name)  # the functions' environment holds what they declare
    return len(os.listdir("/proc/self/task"))


def modules(root: str) -> list[str]:
    """Names to import: the lines of `.wisp-preload`, else the top-level packages of the distributions, 8 at most."""
    listed = _lines(os.path.join(root, PRELOAD))
    if listed is not None:
        return [name for name in listed if name.replace(".", "").isidentifier()][:LISTED_MAX]
    found: list[str] = []
    for folder in sorted(glob.glob(os.path.join(glob.escape(root), "*.dist-info"))):
        names = _lines(os.path.join(folder, "top_level.txt")) or _recorded(os.path.join(folder, "RECORD"))
        found.extend(name for name in names if name.isidentifier() and not name.startswith("_"))
    present = (name for name in dict.fromkeys(found) if os.path.isdir(os.path.join(root, name)))
    return list(present)[:MODULES_MAX]


def _lines(path: str) -> list[str] | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65_536).split()
    except OSError:
        return None


def _recorded(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            rows = list(csv.reader(file.read(1 << 20).splitlines()))
    except (OSError, csv.Error):
        return []
    return [
        row[0].split("/")[0] for row in rows if row and row[0].endswith("/__init__.py") and row[0].count("/") == 1
    ]
