"""How a build is shown while it runs: on a terminal one line that changes, elsewhere a line per step. On stderr."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from wispd.cli.output import harmless, note

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

WIDTH: Final = 70


class BuildProgress:
    """Hears the events of builds. Use it as a context manager; the terminal is only touched when a build runs."""

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._live: Progress | None = None
        self._row: TaskID | None = None
        self._label = ""
        self._terminal = sys.stderr.isatty() and not verbose

    def __enter__(self) -> BuildProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event.get("event")
        if kind == "step":
            self._step(str(event.get("label", "")))
        elif kind == "fetch" and self._live is not None and self._row is not None:
            total = int(event.get("total_bytes") or 0)
            self._live.update(self._row, completed=int(event.get("bytes") or 0), total=total or None)
        elif kind == "log" and self._verbose:
            for line in str(event.get("text", "")).splitlines():
                note(f"  {line}")

    def _step(self, label: str) -> None:
        self._label = harmless(label)
        if not self._terminal:
            note(f"{self._label} …")
            return
        if self._live is None:
            self._live = _display()
            self._live.start()
        if self._row is not None:
            self._live.remove_task(self._row)
        self._row = self._live.add_task(self._label[:WIDTH], total=None)


def _display() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
