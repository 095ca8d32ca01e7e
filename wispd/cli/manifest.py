"""`wisp.toml`: what it says of the functions of a folder, and of how they are built."""

from __future__ import annotations

import difflib
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from wispd.base.errors import Fault

FILE_NAME: Final = "wisp.toml"
_SENT: Final = (
    *("handler", "runtime", "dialect", "env", "memory", "cpu", "timeout", "concurrency", "instances", "access"),
    *("async", "network", "description", "labels", "concurrency_reserved", "routes", "secrets"),
    "versions_kept",
)
KEYS: Final = (*_SENT, "layer", "dependencies")
LATER: Final = ("triggers",)
BUILD_KEYS: Final = ("run", "dependencies")
_TOP: Final = ("app", "functions", "build")


class BuildTable(Struct, frozen=True, kw_only=True):
    """`[build]`: commands that run over a copy of the code, and the file that names the dependencies ("": found)."""

    run: tuple[tuple[str, ...], ...] = ()
    dependencies: str = ""


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return function name → its table; empty without a manifest.

    Raises: `Fault("invalid_argument")` with the line and the nearest valid key.
    """
    path, text, document = _parsed(folder)
    functions = document.get("functions", {})
    if not isinstance(functions, dict) or not all(isinstance(table, dict) for table in functions.values()):
        where = _line(text, "functions", "")
        raise Fault("invalid_argument", f"{path}:{where}: functions must be tables such as [functions.hello]")
    for name, table in functions.items():
        for key in table:
            if key in LATER:
                where = _line(text, key, f"functions.{name}")
                raise Fault(
                    "not_implemented", f"{path}:{where}: {key} is not offered by this version of Wisp", key=key
                )
            if key not in KEYS:
                raise _unknown(path, text, key, known=KEYS, section=f"functions.{name}")
        _dependencies(path, text, table, f"functions.{name}")
    return functions


def read_build(folder: Path) -> BuildTable:
    """Return what `[build]` says. Raises: `Fault("invalid_argument")` as `read`."""
    path, text, document = _parsed(folder)
    table = document.get("build", {})
    if not isinstance(table, dict):
        raise Fault("invalid_argument", f"{path}:{_line(text, 'build', '')}: build must be a table: [build]")
    for key in table:
        if key not in BUILD_KEYS:
            raise _unknown(path, text, key, known=BUILD_KEYS, section="build")
    return BuildTable(run=_commands(path, text, table), dependencies=_dependencies(path, text, table, "build"))


def placed(fault: Fault, folder: Path, name: str, table: dict[str, Any]) -> Fault:
    """Return the node's refusal of a key with the line of `wisp.toml` that has it; as it is when none has."""
    facts: dict[str, Any] = dict(fault.facts)
    key = str(facts.get("key") or "")
    first, _, below = key.partition(".")
    if fault.code != "invalid_argument" or first not in table:
        return fault
    path, text, _ = _parsed(folder)
    section = f"functions.{name}"
    where = _line(text, below, f"{section}.{first}", nothing=0) if below else 0
    where = where or _line(text, first, section)
    return Fault(fault.code, f"{path}:{where}: {fault.message}", **facts)


def _parsed(folder: Path) -> tuple[Path, str, dict[str, Any]]:
    path = folder / FILE_NAME
    if not path.is_file():
        return path, "", {}
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        raise Fault("invalid_argument", f"{path}:{found[1] if found else 1}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Fault("invalid_argument", f"{path}: {error}") from error
    for key in document:
        if key not in _TOP:
            raise _unknown(path, text, key, known=_TOP, section="")
    return path, text, document


def _dependencies(path: Path, text: str, table: dict[str, Any], section: str) -> str:
    """Return the key `dependencies`: a file's path, or `false` for none at all."""
    value = table.get("dependencies", "")
    if value is False:
        return "none"
    if not isinstance(value, str):
        where = _line(text, "dependencies", section)
        message = 'must be the path of a file such as "requirements.txt", or false'
        raise Fault("invalid_argument", f"{path}:{where}: dependencies {message}", key="dependencies")
    return value


def _commands(path: Path, text: str, table: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    listed = table.get("run", [])
    listed = [listed] if isinstance(listed, str) else listed
    where = f"{path}:{_line(text, 'run', 'build')}"
    if not isinstance(listed, list):
        raise Fault("invalid_argument", f'{where}: run must be a list of commands: ["python make.py"]', key="run")
    return tuple(_command(command, where) for command in listed)


def _command(command: object, where: str) -> tuple[str, ...]:
    """Return one command as its parts. No shell takes part in this: quotes group, everything else is plain text."""
    try:
        parts = shlex.split(command) if isinstance(command, str) else command
    except ValueError as error:
        raise Fault("invalid_argument", f"{where}: run has {command!r}: {error}", key="run") from error
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str) for part in parts):
        raise Fault("invalid_argument", f"{where}: run has {command!r}, which is no command", key="run")
    return tuple(parts)


def _unknown(path: Path, text: str, key: str, *, known: tuple[str, ...], section: str) -> Fault:
    near = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    message = f"{path}:{_line(text, key, section)}: {key} is no key here; {hint}"
    return Fault("invalid_argument", message, key=key)


def _line(text: str, key: str, section: str, *, nothing: int = 1) -> int:
    """Return the number of the line that has the key; `nothing` when it can't be told."""
    inside = not section
    dotted = re.compile(rf"\s*\[+\s*(?:{re.escape(section)}\.)?[\"']?{re.escape(key)}[\"']?\s*(?:\]|\.)")
    plain = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]")
    for number, line in enumerate(text.splitlines(), 1):
        if dotted.match(line):
            return number
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        if header:
            inside = header[1].replace('"', "").replace("'", "") == section
        elif inside and plain.match(line):
            return number
    return nothing
