"""How commands print: one JSON document for machines, tables for people, nothing that could steer a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

# Everything that a terminal might obey: C0 but tab and newline, DEL, C1. Source: ECMA-48.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
# Characters that reorder what is read. Source: Unicode UAX #9, explicit formatting.
_REORDERING: Final = {
    code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
}
_HARMLESS: Final = _CONTROLS | _REORDERING


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


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows in columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(*titles, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        grid.add_row(*(Text(harmless(str(cell))) for cell in row))  # Text: markup in names stays what it is
    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False).print(grid)


def size_text(size_bytes: int) -> str:
    """Return bytes for people."""
    return f"{size_bytes / 1048576:.0f} MB" if size_bytes >= 1048576 else f"{size_bytes / 1024:.0f} KB"
