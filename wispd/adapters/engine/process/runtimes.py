"""Which Python interpreters of this host can run functions, and what each needs to see of the file system."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

NAMES: Final = ("python3", *(f"python3.{minor}" for minor in range(11, 21)))  # index = the number in START
_SEARCH: Final = ("/usr/bin", "/usr/local/bin", "/opt/python*/bin")
_PROBE_TIMEOUT_S: Final = 20.0

# Loads what pulls in shared libraries, then tells where everything came from.
_PROBE: Final = """
import json, os, sys
for name in ("ssl", "sqlite3", "ctypes", "zlib", "bz2", "lzma", "hashlib", "decimal", "uuid", "pyexpat"):
    try:
        __import__(name)
    except Exception:
        pass
libraries = set()
for line in open("/proc/self/maps") if os.path.exists("/proc/self/maps") else ():
    path = line.split(maxsplit=5)[-1].strip()
    if path.startswith("/") and ".so" in path:
        libraries.add(os.path.dirname(os.path.realpath(path)))
print(json.dumps([list(sys.version_info[:2]), os.path.realpath(sys.base_prefix), sys.path, sorted(libraries)]))
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """One interpreter. Paths are absolute and real; `libraries` are the directories its shared objects come from."""

    name: str
    executable: str
    prefix: str
    path: tuple[str, ...]
    libraries: tuple[str, ...]


def own_executable() -> str:
    """The node's own interpreter, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def candidates(name: str) -> list[str]:
    """Paths where the interpreter `name` (`python3.12`) may be: system directories and siblings of our own prefix."""
    siblings = os.path.join(os.path.dirname(os.path.realpath(sys.base_prefix)), "*", "bin")
    found = [path for pattern in (*_SEARCH, siblings) for path in sorted(glob.glob(os.path.join(pattern, name)))]
    return [path for path in map(os.path.realpath, found) if _trusted(path)]


def find(name: str) -> Runtime | None:
    """Return the interpreter of a runtime name, or None where the host has none. Starts it once."""
    own = f"python3.{sys.version_info[1]}"
    paths = [own_executable()] if name in {"python3", own} else candidates(name)
    for path in paths:
        runtime = _probe(name, path)
        if runtime is not None:
            return runtime
    return None


def available() -> list[str]:
    """Names of the runtimes present, `python3` first. Looks at files only."""
    own = f"python3.{sys.version_info[1]}"
    return ["python3", *(name for name in NAMES[1:] if name == own or candidates(name))]


def _trusted(path: str) -> bool:
    """May the launcher run this file: owned by root or ourselves, written by nobody else, and no script."""
    try:
        status = os.stat(path)
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError:
        return False
    return status.st_uid in {0, os.geteuid()} and not status.st_mode & 0o002 and magic[:2] != b"#!"


def _probe(name: str, executable: str) -> Runtime | None:
    command = [executable, "-I", "-S", "-B", "-c", _PROBE]
    try:
        probed = subprocess.run(command, env={}, capture_output=True, check=True, timeout=_PROBE_TIMEOUT_S)  # noqa: S603
        output = probed.stdout
        version, prefix, path, libraries = json.loads(output)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if name != "python3" and name != f"python3.{version[1]}":
        return None
    return Runtime(name, executable, prefix, tuple(path), tuple(libraries))
