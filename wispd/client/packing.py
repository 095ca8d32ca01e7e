"""Make the zip that a deployment uploads, from a folder, a single file or a zip."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO, Final

from wispd.base.errors import Fault

# Never part of a package: version control, caches, environments, what editors leave.
IGNORED: Final = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".venv", "venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox"}
    | {".idea", ".vscode", "node_modules", ".DS_Store", ".wisp"}
)
IGNORED_ENDINGS: Final = (".pyc", ".pyo", ".swp", "~")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the same content makes the same zip; source: APPNOTE.TXT, 4.4.6
_CHUNK: Final = 1 << 20


FILES_MAX: Final = 20_000
BYTES_MAX: Final = 250 * 1024 * 1024
LAYER_TIMES: Final = 8  # a layer may be so many times larger; the node has the last word


def pack(path: Path, *, layer: bool = False) -> BinaryIO:
    """Return an open zip of `path`, rewound; closing it forgets it. A layer keeps its compiled files.

    Raises: `Fault` `not_found`, `invalid_argument` (nothing to deploy, a link), `payload_too_large`.
    """
    if path.is_file() and path.suffix == ".zip":
        return path.open("rb")
    if path.is_dir():
        files = _files_of(path, frozenset({".git"}) if layer else IGNORED)
    elif path.is_file():
        files = [(path, path.name)]
    else:
        raise Fault("not_found", f"{path} does not exist; give a folder, a .py file or a .zip")
    if not files:
        raise Fault("invalid_argument", f"{path} has no files to deploy")
    files_max, bytes_max = (FILES_MAX * LAYER_TIMES, BYTES_MAX * LAYER_TIMES) if layer else (FILES_MAX, BYTES_MAX)
    if len(files) > files_max:
        raise Fault("payload_too_large", f"{path} has {len(files)} files, limit {files_max}")
    size = sum(file.stat().st_size for file, _ in files)
    if size > bytes_max:
        raise Fault("payload_too_large", f"{path} is {size} bytes, limit {bytes_max}")
    return _zipped(files)


def _files_of(folder: Path, ignored: frozenset[str]) -> list[tuple[Path, str]]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in ignored)
        for name in sorted(names):
            if name not in ignored and not (ignored is IGNORED and name.endswith(IGNORED_ENDINGS)):
                file = Path(parent, name)
                found.append((_plain(file), file.relative_to(folder).as_posix()))
        for name in folders:
            _plain(Path(parent, name))
    return found


def _plain(path: Path) -> Path:
    if path.is_symlink():
        raise Fault("invalid_argument", f"{path} is a symbolic link; a package holds plain files only")
    if not (path.is_file() or path.is_dir()):
        raise Fault("invalid_argument", f"{path} is neither a file nor a folder")
    return path


def _zipped(files: list[tuple[Path, str]]) -> BinaryIO:
    spool = tempfile.SpooledTemporaryFile(max_size=8 * _CHUNK)  # noqa: SIM115  (the caller closes it)
    with zipfile.ZipFile(spool, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file, name in files:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            executable = file.stat().st_mode & 0o111
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            with file.open("rb") as source, archive.open(entry, "w") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
    spool.seek(0)
    return spool  # type: ignore[return-value]
