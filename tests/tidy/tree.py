"""What the tidy tests look at: the files of this checkout, parsed once."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".venv", ".git", "out", "dist", "__pycache__", "node_modules"}
CODE_ROOTS = ("wisp", "wispd", "tests", "bench", "tools", "examples")
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".lock",
    ".yml",
    ".yaml",
    ".json",
    ".sh",
    ".cfg",
    ".ini",
    ".sql",
    ".lua",
}


@cache
def files() -> tuple[Path, ...]:
    """Return every text file of the checkout, caches and environments left out."""
    return tuple(sorted(_walk(ROOT)))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in SKIPPED or path.name.endswith("_cache") or path.name == ".hypothesis":
            continue
        if path.is_symlink():
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.suffix in TEXT_SUFFIXES or path.name in ("Makefile", "run", ".gitignore"):
            yield path


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_files(*roots: str) -> list[Path]:
    """Return the Python files below these top folders (all code folders by default)."""
    wanted = roots or CODE_ROOTS
    return [path for path in files() if path.suffix == ".py" and name_of(path).split("/")[0] in wanted]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imports(path: Path, *, top_level: bool = False) -> Iterator[tuple[str, int]]:
    """Yield (module, line) of every absolute import; `from a import b` also yields `a.b`, which may be a module."""
    for node in _statements(path, top_level=top_level):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def _statements(path: Path, *, top_level: bool) -> Iterator[ast.AST]:
    """All nodes, but not what stands below `if TYPE_CHECKING` nor, for `top_level`, inside functions."""
    todo: list[ast.AST] = [parsed(path)]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo.extend(node.orelse)
            continue
        if top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        todo.extend(ast.iter_child_nodes(node))


def module_file(module: str) -> Path | None:
    """Return the file of a module of ours, None for a module that is not ours (or not a module)."""
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def assert_none(found: Iterable[object] | dict[str, int]) -> None:
    """Fail with one line per finding."""
    lines = (
        [f"{key}: {value}" for key, value in found.items()] if isinstance(found, dict) else [str(x) for x in found]
    )
    assert not lines, "\n" + "\n".join(lines)
