"""Documents tell the truth: links resolve, every error has its page, commands that are shown exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from wispd.base.errors import CODES

ROOT = Path(__file__).resolve().parents[2]
TOP = ("README", "ARCHITECTURE", "GLOSSARY", "SPECIFICATION", "SECURITY", "CONTRIBUTING", "CHANGELOG")
SECTIONS = ("What happened", "Why", "What to do", "Example")
DOCUMENTS = [ROOT / f"{name}.md" for name in TOP] + sorted((ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(?:sh|console|bash)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_documents_exist() -> None:
    assert [path.name for path in DOCUMENTS if not path.is_file()] == []
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")


def test_every_error_has_its_page_and_every_page_its_error() -> None:
    pages = {path.stem for path in (ROOT / "docs/errors").glob("*.md")} - {"README"}
    assert pages == set(CODES)


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_page_says_what_to_do(code: str) -> None:
    text = (ROOT / "docs/errors" / f"{code}.md").read_text()
    status = CODES[code][0]
    assert text.startswith(f"# `{code}`"), "the title is the code"
    assert f"HTTP {status}" in text, f"the page says another status than {status}"
    assert [section for section in SECTIONS if f"\n## {section}\n" not in text] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_resolve(path: Path) -> None:
    broken = []
    for target in LINK.findall(_without_fences(path.read_text())):
        file, _, anchor = target.partition("#")
        if re.match(r"^[a-z]+:", target):
            continue
        linked = (path.parent / file).resolve() if file else path
        wrong_anchor = anchor and linked.suffix == ".md" and linked.exists() and anchor not in _anchors(linked)
        if wrong_anchor or not linked.exists():
            broken.append(target)
    assert broken == []


def _without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def _anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ +(.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def _shown_commands() -> list[str]:
    """Return each `wisp …` line of a fenced block of the README and the pages for people, comments cut."""
    found = []
    for path in DOCUMENTS:
        for block in FENCE.findall(path.read_text()):
            for raw in block.splitlines():
                line = raw.removeprefix("$ ").strip()
                if line.startswith("wisp "):
                    found.append(line)
    return sorted(set(found))


@pytest.mark.parametrize("line", _shown_commands())
def test_commands_that_are_shown_exist(line: str) -> None:
    """The command and each of its options is known to the CLI (asked through --help, which does nothing)."""
    words = shlex.split(line, comments=True)[1:]
    command = [word for word in words if re.fullmatch(r"[a-z]+", word)]
    for depth in (2, 1):
        done = _wisp(*command[:depth], "--help")
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    options = {word.split("=")[0] for word in words if word.startswith("--")}
    assert [option for option in sorted(options) if option not in done.stdout] == []


def _wisp(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wispd.cli.main", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
