"""Which file of a code tree names the dependencies, and which other files it draws in. Reads only below the tree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from wispd.base.errors import Fault
from wispd.model.build import Source, SourceKind

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
NESTED_MAX: Final = 32  # requirements files that one draws in
_KINDS: Final[tuple[tuple[str, SourceKind], ...]] = (
    ("uv.lock", "uv_lock"),
    ("pylock.toml", "pylock"),
    ("requirements.txt", "requirements"),
    ("pyproject.toml", "project"),
)
NAMES: Final = tuple(name for name, _ in _KINDS)
SCRIPTS_MAX: Final = 100
_INLINE: Final = re.compile(rb"^# /// script\s*$(?:\n#.*)*?\n# dependencies\s*=", re.MULTILINE)
_DRAWS_IN: Final = re.compile(r"(?:-r|-c|--requirement|--constraint)[=\s]\s*(\S+)")
_EDITABLE: Final = re.compile(r"(?:-e|--editable)[=\s]")
_LOCAL: Final = re.compile(r"(?:[\w.\-\[\], ]+@\s*)?(?:file:|\.{1,2}/|/|\.$)")


def find(tree: Path, wanted: str) -> Source | None:
    """Return the source: the file `wanted`, or the first that is there of those that are known.

    Raises: `Fault("invalid_argument")` when it is not there, is of no known kind or can't be read.
    """
    if wanted == "none":
        return None
    if wanted:
        return _source(tree, wanted, _kind_of(wanted))
    for name, kind in _KINDS:
        if not (tree / name).is_file():
            continue
        if kind == "uv_lock" and not (tree / "pyproject.toml").is_file():
            continue
        if kind == "project" and not _declares(_toml(tree, name)):
            continue
        return _source(tree, name, kind)
    scripts = [
        path.name for path in sorted(tree.glob("*.py"))[:SCRIPTS_MAX] if declares_inline(read(tree, path.name))
    ]
    return _source(tree, scripts[0], "script") if len(scripts) == 1 else None


def declares_inline(content: bytes) -> bool:
    """Does a Python file say in itself what it depends on? Source: PEP 723."""
    return _INLINE.search(content) is not None


def files(tree: Path, source: Source) -> dict[str, bytes]:
    """Return path → content of every file that decides what `source` means. Raises: `Fault("invalid_argument")`."""
    found = {source.path: read(tree, source.path)}
    if source.kind == "requirements":
        pending = [source.path]
        while pending:
            path = pending.pop()
            for other in drawn_in(found[path].decode("utf-8", "replace"), path):
                if other not in found:
                    found[other] = read(tree, other)
                    pending.append(other)
            if len(found) > NESTED_MAX:
                raise Fault("invalid_argument", f"{source.path} draws in more than {NESTED_MAX} files")
    for beside in ("pyproject.toml", "uv.toml"):
        if beside not in found and source.kind != "pylock" and (tree / beside).is_file():
            found[beside] = read(tree, beside)
    return found


def drawn_in(text: str, path: str) -> list[str]:
    """Return the paths of files that a requirements file names by -r and -c, as paths of the tree."""
    folder = path.rpartition("/")[0]
    found = []
    for line in _lines(text):
        match = _DRAWS_IN.match(line)
        if match and "://" not in match[1]:
            found.append(_joined(folder, match[1].strip("\"'"), path))
    return found


def is_local(text: str) -> bool:
    """Does a requirements file name folders or files of the code itself?"""
    return any(_EDITABLE.match(line) or _LOCAL.match(line) for line in _lines(text))


def read(tree: Path, path: str) -> bytes:
    """Return a file of the tree. Raises: `Fault("invalid_argument")`."""
    try:
        with (tree / path).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Fault("invalid_argument", f"{path} can't be read: {error.strerror}", key="dependencies") from error
    if len(content) > FILE_BYTES_MAX:
        raise Fault("invalid_argument", f"{path} is larger than {FILE_BYTES_MAX} bytes", key="dependencies")
    return content


def _source(tree: Path, path: str, kind: SourceKind) -> Source:
    path = _joined("", path, "dependencies")
    content = read(tree, path)
    local = False
    if kind == "requirements":
        found = files(tree, Source(kind=kind, path=path))
        local = any(is_local(text.decode("utf-8", "replace")) for name, text in found.items() if name != "uv.toml")
    elif kind == "uv_lock" and not (tree / "pyproject.toml").is_file():
        raise Fault("invalid_argument", f"{path} needs the pyproject.toml that it locks beside it")
    elif kind in ("project", "uv_lock"):
        local = bool(
            _toml(tree, "pyproject.toml" if kind == "uv_lock" else path).get("tool", {}).get("uv", {}).get("sources")
        )
    del content
    return Source(kind=kind, path=path, local=local)


def _kind_of(path: str) -> SourceKind:
    name = path.rpartition("/")[2]
    if name == "uv.lock":
        return "uv_lock"
    if name == "pyproject.toml":
        return "project"
    if name.startswith("pylock.") and name.endswith(".toml"):
        return "pylock"
    if name.endswith((".txt", ".in")):
        return "requirements"
    if name.endswith(".py"):
        return "script"
    raise Fault(
        "invalid_argument",
        f"dependencies is {path!r}; it must be a requirements file (.txt), or one of {', '.join(NAMES)}",
        key="dependencies",
    )


def _declares(project: dict[str, Any]) -> bool:
    found = project.get("project", {})
    return isinstance(found, dict) and bool(found.get("dependencies"))


def _toml(tree: Path, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(read(tree, path).decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Fault("invalid_argument", f"{path}: {error}", key="dependencies") from error


def _lines(text: str) -> list[str]:
    return [line for line in (raw.split(" #")[0].strip() for raw in text.splitlines()) if line and line[0] != "#"]


def _joined(folder: str, path: str, where: str) -> str:
    """Return a path of the tree, or refuse one that leaves it."""
    parts: list[str] = []
    for part in [*folder.split("/"), *path.split("/")]:
        if part == "..":
            if not parts:
                raise Fault("invalid_argument", f"{where} names {path!r}, which is outside of the code")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if path.startswith("/") or not parts:
        raise Fault("invalid_argument", f"{where} names {path!r}, which is no file of the code")
    return "/".join(parts)
