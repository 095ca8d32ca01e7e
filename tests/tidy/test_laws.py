"""The laws that an import contract cannot say: who reads the environment, who asks the time, what may be used."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import tree

ENVIRONMENT_READERS = {"wispd/app/settings.py"}
CLOCKS = {"wispd/base/clock.py"}
# The launcher measures its own steps; it imports nothing of the platform that could tell it the time.
MEASURERS = "wispd/adapters/engine/process/"
WIRING = ("wispd/app/", "wispd/adapters/", "wispd/cli/doctor", "wispd/testing/")
TIME_CALLS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "now", "utcnow"}


def platform_calls() -> Iterator[tuple[str, int, str]]:
    for path in tree.python_files("wispd"):
        for node in ast.walk(tree.parsed(path)):
            if isinstance(node, ast.Attribute):
                yield tree.name_of(path), node.lineno, ast.unparse(node)


def test_only_settings_reads_the_environment() -> None:
    pattern = re.compile(r"^(os\.(environ|environb|getenv|getenvb)|environ\..*)$")
    texts = [(name, line, text) for name, line, text in platform_calls()]
    # Emptying it is no reading: a zygote's forks must inherit nothing.
    emptied = {(name, line) for name, line, text in texts if text == "os.environ.clear"}
    found = [(name, line) for name, line, text in texts if pattern.match(text) and (name, line) not in emptied]
    tree.assert_none([f"{name}:{line}" for name, line in found if name not in ENVIRONMENT_READERS])


def test_only_the_clock_asks_the_time() -> None:
    found = []
    for name, line, text in platform_calls():
        module, _, attribute = text.rpartition(".")
        asks = (module in ("time", "_time") or module.endswith("datetime")) and attribute in TIME_CALLS
        if asks and name not in CLOCKS and not name.startswith(MEASURERS):
            found.append(f"{name}:{line} {text}")
    tree.assert_none(found)


def test_only_the_composition_root_picks_an_adapter() -> None:
    found = [
        f"{tree.name_of(path)}:{line} {module}"
        for path in tree.python_files("wispd")
        for module, line in tree.imports(path)
        if module.startswith("wispd.adapters.") and not tree.name_of(path).startswith(WIRING)
    ]
    tree.assert_none(found)


def test_the_sandbox_side_imports_the_standard_library_only() -> None:
    tree.assert_none(list(_foreign("wisp", {"wisp"})))


def test_the_launcher_imports_the_standard_library_only() -> None:
    """All that is reached from the launcher and from what its forks run, through our own modules too."""
    # The role of that name only prepares; it replaces itself by a fresh interpreter that runs the first of these.
    starts = [tree.ROOT / MEASURERS / f"{name}.py" for name in ("launcher", "zygote", "member")]
    reached = _closure([path for path in starts if path.is_file()])
    assert any(tree.name_of(path).endswith("launcher.py") for path in reached), "the launcher was not found"
    found = [
        f"{tree.name_of(path)}:{line} {module}"
        for path in sorted(reached)
        for module, line in tree.imports(path, top_level=True)
        if module.split(".")[0] not in sys.stdlib_module_names | {"wisp", "wispd"}
    ]
    tree.assert_none(found)


def _foreign(root: str, ours: set[str]) -> Iterator[str]:
    for path in tree.python_files(root):
        for module, line in tree.imports(path):
            if module.split(".")[0] not in sys.stdlib_module_names | ours:
                yield f"{tree.name_of(path)}:{line} {module}"


def _closure(starts: list[Path]) -> set[Path]:
    """Return all our files that importing these files reads, packages' own files included."""
    reached: set[Path] = set()
    todo = list(starts)
    while todo:
        path = todo.pop()
        if path in reached:
            continue
        reached.add(path)
        for module, _ in tree.imports(path, top_level=True):
            parts = module.split(".")
            if parts[0] in ("wisp", "wispd"):
                names = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
                todo.extend(found for name in names if (found := tree.module_file(name)))
    return reached


def test_no_shell_no_unpickling_no_naked_create_task() -> None:
    found = []
    for path in tree.python_files("wisp", "wispd", "tools", "bench"):
        for node in ast.walk(tree.parsed(path)):
            if isinstance(node, ast.Call) and _reckless(node):
                found.append(f"{tree.name_of(path)}:{node.lineno} {ast.unparse(node)[:80]}")
    tree.assert_none(found)


def _reckless(call: ast.Call) -> bool:
    shell = any(k.arg == "shell" and getattr(k.value, "value", None) is True for k in call.keywords)
    name = ast.unparse(call.func)
    if shell or name in ("os.system", "eval", "asyncio.create_task", "asyncio.ensure_future", "loop.create_task"):
        return True
    return name in {f"{m}.{f}" for m in ("pickle", "marshal", "shelve", "dill") for f in ("load", "loads", "open")}


def test_unit_tests_never_sleep() -> None:
    found = []
    for path in tree.python_files("tests"):
        if tree.name_of(path).split("/")[1] not in ("unit", "property", "simulation"):
            continue
        for node in ast.walk(tree.parsed(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep"):
                seconds = node.args[0] if node.args else None
                if not (isinstance(seconds, ast.Constant) and seconds.value == 0):
                    found.append(f"{tree.name_of(path)}:{node.lineno}")
    tree.assert_none(found)
