"""How commands print: one JSON document for machines, tables for people, nothing that could steer a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from wispd.base.clock import SystemClock

# Everything that a terminal might obey: C0 but tab and newline, DEL, C1. Source: ECMA-48.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
# Characters that reorder what is read. Source: Unicode UAX #9, explicit formatting.
_REORDERING: Final = {
    code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
}
_HARMLESS: Final = _CONTROLS | _REORDERING
PIPE_WIDTH: Final = 10_000  # nothing is folded or left out for programs
GAP: Final = 2  # columns between columns
_AGO: Final = ((90, 1, "s"), (5_400, 60, "min"), (172_800, 3_600, "h"), (2_592_000, 86_400, "days"))


def harmless(text: str) -> str:
    """Return `text` with everything a terminal would obey made visible."""
    return text.translate(_HARMLESS)


def print_json(content: object) -> None:
    """Print one document on one line."""
    import json

    sys.stdout.write(json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """Print for people. Terminal escapes of others' text are neutralised when it goes to a terminal."""
    sys.stdout.write((harmless(text) if sys.stdout.isatty() else text) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print progress, warnings and errors: on standard error."""
    sys.stderr.write((harmless(text) if sys.stderr.isatty() else text) + "\n")
    sys.stderr.flush()


def styled(*spans: tuple[str, str]) -> None:
    """Print one line of (text, style): in colour on a terminal, as it is elsewhere."""
    if not sys.stdout.isatty():
        say("".join(text for text, _ in spans))
        return
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble(*((harmless(text), style) for text, style in spans))
    Console(highlight=False).print(line, soft_wrap=True)


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print what is known of one thing, a line each; what is empty is left out."""
    known = [(key, value) for key, value in pairs if value not in (None, "", [], {}, ())]
    width = max((len(key) for key, _ in known), default=0)
    for key, value in known:
        styled((f"  {key:<{width}}  ", "dim"), (str(value), ""))


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]], *, least: Sequence[str] = ()) -> None:
    """Print rows in columns. On a terminal too narrow for all, those named in `least` are left out, in that order."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    cells = [[harmless(str(cell)) for cell in row] for row in rows]
    kept = _fitting(titles, cells, console.width, least)
    grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for index in kept:
        numbers = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        grid.add_column(titles[index], justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        grid.add_row(*(Text(row[index]) for index in kept))  # Text: markup in names stays what it is
    console.print(grid)


def _fitting(titles: Sequence[str], cells: list[list[str]], width: int, least: Sequence[str]) -> list[int]:
    """Return the columns that are shown."""
    from rich.cells import cell_len

    widths = [max(cell_len(text) for text in column) for column in zip(titles, *cells, strict=True)]
    kept = list(range(len(titles)))
    for title in least:
        if sum(widths[index] + GAP for index in kept) - GAP <= width:
            break
        kept.remove(list(titles).index(title))
    return kept


def ago(time: str) -> str:
    """Return an RFC 3339 time as people say it: how long ago, or the day when that is long."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return time
    seconds = SystemClock.unix_ns() / 1e9 - moment.timestamp()
    for limit_s, unit_s, unit in _AGO:
        if seconds < limit_s:
            return f"{max(0, seconds) // unit_s:.0f} {unit} ago"
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


def clock_time(time: str) -> str:
    """Return an RFC 3339 time as this machine's clock would show it, with milliseconds."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(time).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except ValueError:
        return time


def size_text(size_bytes: int) -> str:
    """Return bytes for people."""
    if size_bytes >= 10 * 1073741824:
        return f"{size_bytes / 1073741824:.0f} GB"
    if size_bytes >= 1073741824:
        return f"{size_bytes / 1073741824:.1f} GB"
    return f"{size_bytes / 1048576:.0f} MB" if size_bytes >= 1048576 else f"{size_bytes / 1024:.0f} KB"
