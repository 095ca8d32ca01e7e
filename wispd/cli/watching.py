"""Which saved files matter, and how long to wait for a save to be whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from wispd.client.packing import IGNORED, IGNORED_ENDINGS

QUIET_MS: Final = 15  # without a further change a save is whole
LONGEST_MS: Final = 300  # a stream of changes is passed on after so long
_SWAP: Final = (".swp", ".swx", ".tmp", "~", "4913")  # what editors leave while they save


def saved_files(path: Path, over: threading.Event) -> Iterator[frozenset[Path]]:
    """Yield files that were saved: of a folder all that would be deployed, of a file the file itself.

    A file is watched by its folder, because editors save by renaming a new file over the old one.
    """
    import watchfiles

    folder = path if path.is_dir() else path.parent
    wanted = matters(path)
    changes = watchfiles.watch(
        folder,
        recursive=path.is_dir(),
        watch_filter=lambda _, name: wanted(Path(name)),
        step=QUIET_MS,
        debounce=LONGEST_MS,
        stop_event=over,
        raise_interrupt=False,
    )
    for found in changes:
        added = {name for change, name in found if change is watchfiles.Change.added}
        # What came and went within one save was an editor's own: the new file before it was renamed.
        paths = frozenset(Path(name) for _, name in found if name not in added or Path(name).exists())
        if paths:
            yield paths


def matters(path: Path) -> Callable[[Path], bool]:
    """Return whether a changed file is a reason to deploy anew."""
    if not path.is_dir():
        return lambda changed: changed.name == path.name and changed.parent == path.parent

    def below(changed: Path) -> bool:
        try:
            parts = changed.relative_to(path).parts
        except ValueError:
            return False
        if any(part in IGNORED or part.endswith(".egg-info") for part in parts):
            return False
        return not changed.name.endswith(IGNORED_ENDINGS + _SWAP)

    return below
