"""Record the tour of the README: real commands on a real node, as a terminal cast and as a picture that moves.

    .venv/bin/python tools/tour.py        writes docs/tour.cast (asciicast v2) and docs/tour.svg

Source of the cast's format: docs.asciinema.org, "asciicast v2".
"""

from __future__ import annotations

import html
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 92, 26
LINE_PX, CHAR_PX = 19, 8.4
TYPING_S, THINKING_S, READING_S = 0.035, 0.5, 2.2
SETTLE_S: Final = 60.0  # for one command
# What is typed; the first word of a line that begins with "#" is a remark.
TOUR: Final = (
    "# A function is a file:",
    "cat greet.py",
    "# One command starts a node, one deploys:",
    "wisp up --detach",
    "wisp deploy greet.py",
    'wisp invoke greet -d \'{"name": "Ada"}\'',
    "# Every call leaves a record:",
    "wisp invocation list --function greet",
    "wisp logs greet",
    "# A version never changes; rolling back takes a moment:",
    "sed -i 's/Hello/Good morning,/' greet.py",
    "wisp deploy greet.py",
    "wisp invoke greet",
    "wisp rollback greet",
    "wisp invoke greet",
    "wisp versions greet",
    "# What did it cost?",
    "wisp usage",
    "wisp down",
)
GREET: Final = """def handle(event, context):
    name = (event.data or {}).get("name", "world")
    context.log.info("greeting %s", name)
    return f"Hello {name}!\\n"
"""
_ANSI: Final = re.compile(r"\x1b\[([0-9;]*)m|\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_COLOURS: Final = {
    31: "#e06c75",
    32: "#98c379",
    33: "#e5c07b",
    34: "#61afef",
    35: "#c678dd",
    36: "#56b6c2",
    90: "#7f848e",
}


class Shown(NamedTuple):
    """Text that appears at a time, in seconds from the start."""

    at_s: float
    text: str


def main() -> int:
    """Run the tour in a folder that is removed; write both files."""
    folder = Path(tempfile.mkdtemp(prefix="tour"))
    try:
        (folder / "greet.py").write_text(GREET)
        shown = record(folder)
    finally:
        subprocess.run([*_wisp(), "down", "--data", str(folder / "node")], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
    (ROOT / "docs/tour.cast").write_text(cast(shown))
    (ROOT / "docs/tour.svg").write_text(picture(shown))
    return 0


def _wisp() -> list[str]:
    return [sys.executable, "-m", "wispd.cli.main"]


def record(folder: Path) -> list[Shown]:
    """Run everything; return what was on the screen, and when."""
    shown: list[Shown] = []
    now = 0.0
    for line in TOUR:
        shown.append(Shown(now, "$ "))
        now += THINKING_S
        for character in line:
            shown.append(Shown(now, character))
            now += TYPING_S
        shown.append(Shown(now, "\r\n"))
        if line.startswith("#"):
            now += THINKING_S
            continue
        began = time.monotonic()
        output = run(line, folder).replace(str(folder), "~")
        now += time.monotonic() - began
        shown.append(Shown(now, output))
        now += READING_S
    return shown


def run(line: str, folder: Path) -> str:
    """Run one command in a terminal of its own; return what it wrote."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "xterm-256color",
        "COLUMNS": str(WIDTH), "LINES": str(HEIGHT), "WISP_DATA": str(folder / "node"), "LANG": "C.UTF-8",
    }  # fmt: skip
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execvpe("/bin/sh", ["/bin/sh", "-c", line], environment)
    written = bytearray()
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end and select.select([terminal], [], [], 1.0) is not None:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # the terminal's last process is gone
            break
        written += piece
    else:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(terminal)
    return re.sub(r"wisp_[A-Za-z0-9_-]{20,}", "wisp_…", written.decode("utf-8", "replace"))


def cast(shown: list[Shown]) -> str:
    """Return the recording for terminal players."""
    head = {"version": 2, "width": WIDTH, "height": HEIGHT, "title": "Wisp in two minutes"}
    events = [[round(one.at_s, 3), "o", one.text] for one in shown]
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in [head, *events])


def lines_of(shown: list[Shown]) -> list[Shown]:
    """Return whole lines, each with when it was complete."""
    found: list[Shown] = []
    rest = ""
    for at_s, text in shown:
        *whole, rest = (rest + text).replace("\r\n", "\n").split("\n")
        found += [Shown(at_s, line.rsplit("\r", 1)[-1]) for line in whole]
    return found


def picture(shown: list[Shown]) -> str:
    """Return an SVG in which the lines appear one after the other and scroll."""
    lines = lines_of(shown)
    total_s = shown[-1].at_s + READING_S
    rows = []
    for number, (at_s, text) in enumerate(lines):
        begin = f'<animate attributeName="opacity" from="0" to="1" begin="{at_s:.2f}s" dur="0.01s" fill="freeze"/>'
        y = (number + 1) * LINE_PX
        rows.append(f'<text y="{y}" opacity="0" xml:space="preserve">{spans(text)}{begin}</text>')
    steps = [(at_s, -max(0, number + 1 - HEIGHT) * LINE_PX) for number, (at_s, _) in enumerate(lines)]
    values = ";".join(f"0 {y}" for _, y in [(0, 0), *steps, (0, steps[-1][1])])
    times = ";".join(f"{min(1.0, at_s / total_s):.4f}" for at_s in [0.0, *(s for s, _ in steps), total_s])
    scroll = (
        f'<animateTransform attributeName="transform" type="translate" calcMode="discrete" values="{values}" '
        f'keyTimes="{times}" dur="{total_s:.2f}s" fill="freeze"/>'
    )
    width, height = round(WIDTH * CHAR_PX + 32), HEIGHT * LINE_PX + 32
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
        "<title>Wisp in two minutes: a function is deployed, called, looked at, changed and rolled back</title>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#21252b"/>\n'
        f'<svg x="16" y="12" width="{width - 32}" height="{height - 24}" font-family="ui-monospace,Menlo,Consolas,'
        f'DejaVu Sans Mono,monospace" font-size="14" fill="#dcdfe4"><g>{scroll}\n'
        + "\n".join(rows)
        + "\n</g></svg>\n</svg>\n"
    )


def spans(text: str) -> str:
    """Return a line's text with its colours."""
    if text.startswith("$ #"):
        return f'<tspan fill="#7f848e">{html.escape(text[2:])}</tspan>'
    out, style, last = [], "", 0
    for match in [*_ANSI.finditer(text), None]:
        part = text[last : match.start() if match else len(text)]
        if part:
            out.append(f"<tspan{style}>{html.escape(part)}</tspan>")
        if match:
            last = match.end()
            style = _style(match[1]) if match[1] is not None else style
    return "".join(out)


def _style(codes: str) -> str:
    numbers = [int(code) for code in codes.split(";") if code]
    colour = next((_COLOURS[number] for number in numbers if number in _COLOURS), "")
    bold = ' font-weight="bold"' if 1 in numbers else ""
    return (f' fill="{colour}"' if colour else "") + bold


if __name__ == "__main__":
    sys.exit(main())
