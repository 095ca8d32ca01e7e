"""Which functions of a project a saved file changes: those whose handler imports it, however far down.

Imports are read, not run. What can't be told (no handler named, a file that is no module, an import by name at run
time, a module that does not parse) counts for every function, so a change is never missed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

DYNAMIC: Final = frozenset({"import_module", "__import__", "exec", "eval", "run_path", "run_module"})
FILES_MAX: Final = 2_000  # modules looked at; a project with more is deployed whole


def affected(folder: Path, functions: Mapping[str, Mapping[str, Any]], changed: Iterable[Path]) -> list[str]:
    """Return the names of the functions to deploy again."""
    paths = list(changed)
    if any(path.suffix != ".py" for path in paths):
        return list(functions)
    found = []
    for name, table in functions.items():
        reached = reachable(folder, str(table.get("handler") or ""))
        if reached is None or any(path in reached for path in paths):
            found.append(name)
    return found


def reachable(folder: Path, handler: str) -> set[Path] | None:
    """Return the files below `folder` that importing a handler reads; None: it can't be told."""
    module = handler.partition(":")[0].replace("/", ".").removesuffix(".py")
    start = _files(folder, module) if module else []
    if not start:
        return None
    reached: set[Path] = set()
    todo = list(start)
    while todo:
        path = todo.pop()
        if path in reached:
            continue
        reached.add(path)
        if len(reached) > FILES_MAX:
            return None
        names = _imports(path, folder)
        if names is None:
            return None
        todo += [file for name in names for file in _files(folder, name)]
    return reached


def _files(folder: Path, module: str) -> list[Path]:
    """Return the files that importing a dotted name reads, its packages' own ones included."""
    found = []
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        path = folder.joinpath(*parts[:end])
        found += [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return found


def _imports(path: Path, folder: Path) -> set[str] | None:
    """Return the dotted names a file imports; None: it can't be told."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    package = path.parent.relative_to(folder).parts
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            names.update(".".join(filter(None, (base, alias.name))) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in DYNAMIC:
            return None
    return names


def _called(node: ast.Call) -> str:
    target = node.func
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
