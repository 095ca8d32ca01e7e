"""What a command that goes on shows as it happens: coloured lines for people, NDJSON for machines."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterable
from typing import Any, Final

from wispd.cli.callines import Span
from wispd.cli.output import harmless, note, print_json

WIDTH_MAX: Final = 140
_NOWHERE: Final = ("192.0.2.1", 9)  # source: RFC 5737; nothing is sent there


class Screen:
    """Standard output of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.terminal = sys.stdout.isatty()
        from rich.console import Console

        self._console = Console(highlight=False, soft_wrap=True)

    @property
    def width(self) -> int:
        """Columns of the terminal now; a pipe gets plenty."""
        return min(self._console.width, WIDTH_MAX) if self.terminal else WIDTH_MAX

    def line(self, *spans: Span) -> None:
        """Print one line for people, made of harmless texts and styles."""
        if not self.as_json:
            from rich.text import Text

            self._console.print(Text.assemble(*spans), soft_wrap=True)

    def lines(self, lines: Iterable[list[Span]]) -> None:
        for spans in lines:
            self.line(*spans)

    def event(self, name: str, **facts: Any) -> None:
        """Print one document for machines."""
        if self.as_json:
            print_json({"event": name} | facts)

    def warn(self, text: str) -> None:
        """Print a warning: yellow, on standard error."""
        if self.as_json or not sys.stderr.isatty():
            note(f"warning: {text}")
            return
        from rich.console import Console

        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"warning: {harmless(text)}", style="yellow", markup=False
        )

    def code(self, url: str) -> None:
        """Draw a QR code, on a terminal that has room for it."""
        if self.terminal and not self.as_json:
            import segno

            segno.make(url, error="l").terminal(out=sys.stdout, compact=True, border=2)


def network_address() -> str:
    """Return the address by which others of the network reach this machine; "" without a network."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_NOWHERE)
        return str(probe.getsockname()[0])
    return ""
