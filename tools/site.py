"""Build the documentation site: gather the pages of docs/ and of the top of the repository, and run Zensical on them.

.venv/bin/python tools/site.py [FOLDER]     the site is in dist/site, or in FOLDER/site
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TOP: Final = ("ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "GLOSSARY", "README", "SECURITY", "SPECIFICATION")
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def main(arguments: list[str]) -> int:
    """Gather and build; return Zensical's exit status."""
    out = Path(arguments[0]).resolve() if arguments else ROOT / "dist"
    pages = out / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    for source, place in sources().items():
        target = pages / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(rewritten(source, place) if source.suffix == ".md" else source.read_text())
    settings = (ROOT / "zensical.toml").read_text().replace('"dist/', '"')
    (out / "zensical.toml").write_text(settings)
    command = [str(Path(sys.executable).parent / "zensical"), "build", "--clean", "--strict", "-f", "zensical.toml"]
    return subprocess.run(command, cwd=out, check=False).returncode


def sources() -> dict[Path, str]:
    """Return every page and where it stands on the site."""
    found = {ROOT / f"{name}.md": "index.md" if name == "README" else f"{name}.md" for name in TOP}
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.is_file() and path.suffix in (".md", ".svg", ".cast"):
            place = path.relative_to(ROOT / "docs").as_posix()
            found[path] = re.sub(r"(^|/)README\.md$", r"\1index.md", place)
    return found


def rewritten(source: Path, place: str) -> str:
    """Return a page whose links lead to pages; those that lead to code become plain words."""
    known = sources()

    def link(match: re.Match[str]) -> str:
        image, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        if re.match(r"[a-z]+:", target):
            return match[0]
        linked = (source.parent / target).resolve()
        if linked not in known:
            return text
        up = "../" * place.count("/")
        return f"{image}[{text}]({up}{known[linked]}{anchor})"

    return _LINK.sub(link, source.read_text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
