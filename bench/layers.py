"""Makes the trees that serve as dependency layers, from what is installed (and was checked by hash) for the bench."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from compileall import compile_dir
from importlib.metadata import Distribution, distributions
from pathlib import Path
from py_compile import PycInvalidationMode

HERE = Path(__file__).resolve().parent


def build(target: Path, *names: str) -> Path:
    """Copy these distributions and what they need to `target`; return it. An existing tree is kept as it is."""
    if target.exists():
        return target
    installed = {_key(found.name): found for found in distributions(path=[str(_site())])}
    partial = target.with_name(target.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    for name in sorted(_closure(installed, names)):
        for file in installed[name].files or ():
            source = Path(str(installed[name].locate_file(file)))
            # Scripts live outside of site-packages; compiled files name the place they were made in: made anew below.
            if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
                (partial / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, partial / file)
    # As an installer does it. By hash and unchecked: the tree is read-only and its times mean nothing.
    mode = PycInvalidationMode.UNCHECKED_HASH
    compile_dir(partial, quiet=2, workers=0, stripdir=str(partial), prependdir="/layer", invalidation_mode=mode)
    partial.rename(target)
    return target


def _site() -> Path:
    return next((HERE / ".venv/lib").glob("python*/site-packages"))


def _closure(installed: dict[str, Distribution], names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    todo = [_key(name) for name in names]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [needed for needed in _needed(installed[name]) if needed in installed]
    return found


def _needed(distribution: Distribution) -> Iterator[str]:
    """Yield what a distribution always needs: optional extras are left out."""
    for line in distribution.requires or ():
        if "extra ==" not in line:
            yield _key(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0])


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
