"""What a function is called when nobody says: after its App, else after its file or folder."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

from wispd.base.errors import Fault
from wispd.model.function import NAME_PATTERN

NAME_MAX: Final = 64
SOURCE_MAX: Final = 2 * 1024 * 1024
# Where the runtime looks for a handler that is not named; the first that is there.
MODULES: Final = ("main", "app", "handler", "lambda_function", "index", "function", "func", "application")


def default_name(path: Path) -> str:
    """Return the name of the App that the code has, or one made of the folder's or file's name."""
    named = app_name(path)
    if named is not None:
        return named
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem if path.is_file() else path.name).strip("-_")[:NAME_MAX]
    if not name:
        raise Fault("invalid_argument", f"no function name can be made of {path}; give one with --name")
    return name


def app_name(path: Path) -> str | None:
    """Return the name in `app = App("name")` of a module's own level. The code is read, not run."""
    file = _module(path)
    try:
        if file is None or file.stat().st_size > SOURCE_MAX:
            return None
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # the trial says what is wrong with it
    names = [name for node in tree.body if (name := _named_by(node)) is not None]
    return names[0] if len(names) == 1 and re.fullmatch(NAME_PATTERN, names[0]) else None


def _module(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix == ".py" else None
    known = [path / f"{name}.py" for name in MODULES if (path / f"{name}.py").is_file()]
    found = known[:1] or sorted(path.glob("*.py"))
    return found[0] if len(found) == 1 else None


def _named_by(node: ast.stmt) -> str | None:
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if not isinstance(value, ast.Call) or not value.args or not isinstance(value.args[0], ast.Constant):
        return None
    name = value.args[0].value
    return name if ast.unparse(value.func) in ("App", "wisp.App") and isinstance(name, str) else None
