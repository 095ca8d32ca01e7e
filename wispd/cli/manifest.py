"""`wisp.toml`: what it says of the functions of a folder."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from wispd.base.errors import Fault

FILE_NAME: Final = "wisp.toml"
_SENT: Final = (
    *("handler", "runtime", "dialect", "env", "memory", "cpu", "timeout", "concurrency", "instances", "access"),
    *("async", "network", "description", "labels", "concurrency_reserved", "routes"),
)
KEYS: Final = (*_SENT, "layer")
LATER: Final = ("secrets", "triggers")
_TOP: Final = ("app", "functions")


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return function name → its table; empty without a manifest.

    Raises: `Fault("invalid_argument")` with the line and the nearest valid key.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return {}
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Fault("invalid_argument", f"{path}: {error}") from error
    for key in document:
        if key not in _TOP:
            raise _unknown(path, text, key, known=_TOP, section="")
    functions = document.get("functions", {})
    if not isinstance(functions, dict) or not all(isinstance(table, dict) for table in functions.values()):
        raise Fault("invalid_argument", f"{path}: functions must be tables such as [functions.hello]")
    for name, table in functions.items():
        for key in table:
            if key in LATER:
                where = _line(text, key, f"functions.{name}")
                raise Fault(
                    "not_implemented", f"{path}:{where}: {key} is not offered by this version of Wisp", key=key
                )
            if key not in KEYS:
                raise _unknown(path, text, key, known=KEYS, section=f"functions.{name}")
    return functions


def _unknown(path: Path, text: str, key: str, *, known: tuple[str, ...], section: str) -> Fault:
    near = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    message = f"{path}:{_line(text, key, section)}: {key} is no key here; {hint}"
    return Fault("invalid_argument", message, key=key)


def _line(text: str, key: str, section: str) -> int:
    """Return the number of the line that has the key; 1 when it can't be told."""
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
    return 1
