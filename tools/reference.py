"""Write the reference pages that are made from the code; with --check, say which are out of date (exit status 1).

.venv/bin/python tools/reference.py [--check]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cli_page import cli_page
from limits_page import limits_page
from manifest_page import manifest_page
from metrics_page import metrics_page

ROOT: Final = Path(__file__).resolve().parent.parent
SETTINGS: Final = ROOT / "wispd/app/settings.py"
BELOW: Final = (ROOT / "wispd/model/build.py",)  # where sections come from that other rooms read, too
TOP: Final = "Settings"  # the class that the file's top level is
NOT_IN_FILE: Final = frozenset({"data_dir"})
HEAD: Final = """# Node settings

<!-- Made from wispd/app/settings.py by tools/reference.py; edits here are lost. -->

A node reads `wisp-node.toml` in its data directory when it starts. Flags of `wisp up` go before it. Everything has a
default; a key that does not exist is refused, with the nearest one that does. `wisp doctor` prints what is in force.
"""


def main(arguments: list[str]) -> int:
    """Write or check all pages."""
    stale = []
    for page, text in ((page, make()) for page, make in PAGES.items()):
        if page.is_file() and page.read_text() == text:
            continue
        stale.append(page.relative_to(ROOT).as_posix())
        if "--check" not in arguments:
            page.write_text(text)
    if stale and "--check" in arguments:
        print(f"out of date: {', '.join(stale)}; run tools/reference.py", file=sys.stderr)
        return 1
    return 0


def settings_page() -> str:
    """Return the page of all settings, a table for each section of the file."""
    parsed = [ast.parse(path.read_text()) for path in (*BELOW, SETTINGS)]
    classes = {node.name: node for tree in parsed for node in tree.body if isinstance(node, ast.ClassDef)}
    parts = [HEAD, *_section(classes, TOP, "")]
    return "\n".join(parts) + "\n"


def _section(classes: dict[str, ast.ClassDef], name: str, path: str) -> Iterator[str]:
    """Yield the lines of one class, then those of the classes its fields are."""
    below = []
    title = f"`[{path}]`" if path else "Top of the file"
    yield f"\n## {title}\n\n| key | type | default | what it is |\n|---|---|---|---|"
    for field, text in _fields(classes[name]):
        key, kind = ast.unparse(field.target), ast.unparse(field.annotation)
        if kind in classes:
            below.append((kind, f"{path}.{key}" if path else key))
        elif path or key not in NOT_IN_FILE:
            default = "required" if field.value is None else f"`{ast.unparse(field.value)}`"
            yield f"| `{key}` | {_escaped(f'`{kind}`')} | {_escaped(default)} | {_escaped(text)} |"
    for kind, where in below:
        yield from _section(classes, kind, where)


def _fields(node: ast.ClassDef) -> Iterator[tuple[ast.AnnAssign, str]]:
    """Yield each field with the text under it. Raises: ValueError for one that nobody described."""
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or ast.unparse(field.annotation).startswith("ClassVar"):
            continue
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
            raise ValueError(f"{node.name}.{ast.unparse(field.target)} has no text under it")
        yield field, " ".join(str(after.value.value).split())


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


PAGES: Final[dict[Path, Callable[[], str]]] = {
    ROOT / "docs/reference/settings.md": settings_page,
    ROOT / "docs/reference/manifest.md": manifest_page,
    ROOT / "docs/reference/metrics.md": metrics_page,
    ROOT / "docs/reference/limits.md": limits_page,
    ROOT / "docs/cli.md": cli_page,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
