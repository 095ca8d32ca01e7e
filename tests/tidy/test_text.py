"""What no committed file says: paths of one machine, hosts of registries, promises to do something later."""

from __future__ import annotations

import re

import tree


def _any_of(*patterns: tuple[str, str]) -> re.Pattern[str]:
    """Compile what is written in two pieces here, so that this file does not find itself."""
    return re.compile("|".join(first + second for first, second in patterns))


MACHINE_PATHS = _any_of(("/wo", "rk/"), ("/ro", r"ot/[.a-z]"), ("/ho", r"me/[a-z]+/[a-z.]"))
REGISTRIES = _any_of(
    ("py", r"pi\.org"),
    ("pythonho", r"sted\.org"),
    ("registry.n", r"pmjs"),
    ("proxy.gol", r"ang\.org"),
    ("deb.deb", r"ian\.org"),
)
LATER = _any_of((r"\bTO", r"DO\b"), (r"\bFIX", r"ME\b"), (r"\bXX", r"X\b"))


def _hits(pattern: re.Pattern[str], *, only_code: bool = False) -> list[str]:
    found = []
    for path in tree.files():
        if only_code and path.suffix != ".py":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{tree.name_of(path)}:{number} {line.strip()[:100]}")
    return found


def test_no_paths_of_one_machine() -> None:
    tree.assert_none(_hits(MACHINE_PATHS))


def test_no_registry_hosts() -> None:
    tree.assert_none(_hits(REGISTRIES))


def test_nothing_is_left_for_later_in_the_code() -> None:
    """What is not done yet stands in SPECIFICATION.md, marked pending, with the command that would show it."""
    tree.assert_none(_hits(LATER, only_code=True))


def test_text_ends_with_a_newline_and_has_no_tabs_in_code() -> None:
    bad = []
    for path in tree.files():
        text = path.read_text(encoding="utf-8")
        if text and not text.endswith("\n"):
            bad.append(f"{tree.name_of(path)}: no newline at the end")
        if path.suffix == ".py" and "\t" in text:
            bad.append(f"{tree.name_of(path)}: tab")
    tree.assert_none(bad)


def test_locks_have_hashes_and_no_addresses() -> None:
    for name in ("requirements.lock", "bench/requirements.lock"):
        lines = (tree.ROOT / name).read_text().splitlines()
        pins = [line for line in lines if "==" in line and not line.lstrip().startswith("#")]
        assert pins, name
        assert all(line.endswith("\\") for line in pins), f"{name}: a pin without a hash"
        assert not any("://" in line or "index-url" in line for line in lines), f"{name}: an address"
