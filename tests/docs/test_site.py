"""The documentation site can be built, holds every page, and what is made from code says what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def test_reference_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "tools/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _places(nav: list[Any]) -> list[str]:
    found = []
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found += _places(value) if isinstance(value, list) else [value]
    return found


def test_every_page_is_in_the_menu_or_in_a_list_that_is() -> None:
    """Error pages and decisions are listed by their own first pages."""
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    listed = set(_places(nav))
    missing = {page for page in pages if not re.match(r"(errors|decisions)/", page)} - listed
    assert not missing, f"not in the menu of zensical.toml: {sorted(missing)}"
    assert {"errors/index.md", "decisions/index.md", "index.md"} <= listed


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "tools/site.py", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    start = (tmp_path / "site/index.html").read_text()
    assert "Your first function" in start
    assert not re.findall(r'(?:src|href)="https?://(?!github|www\.rfc-editor)[^"]*\.(?:js|css|woff2?)"', start)
    assert (tmp_path / "site/errors/throttled/index.html").is_file()
