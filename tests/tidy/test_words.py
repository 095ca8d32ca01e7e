"""Words that say nothing, or that name our things by other systems' nouns, are not used in names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import tree

VAGUE = {"manager", "helper", "helpers", "util", "utils", "common", "misc"}
FOREIGN = {"worker", "workers", "pod", "pods", "container", "containers", "activation", "job", "jobs"}
# The whole name, not a part of it: these say something once they are qualified.
ALONE = {"data", "info", "task", "tasks", "action", "actions"}
PREFIXES = ("handle_", "process_")

# CloudEvents 1.0 calls the payload of an event `data`; on the users' side that is its name.
CLOUDEVENTS = ("wisp/",)
# The data directory, which every command calls `--data`.
DIRECTORY = ("wispd/adapters/engine/process/config.py",)


def test_names_say_what_they_mean() -> None:
    found = [
        f"{tree.name_of(path)}:{line} {name}"
        for path in tree.python_files("wisp", "wispd", "bench", "tools")
        for name, line in _names(path)
        if _forbidden(name, tree.name_of(path))
    ]
    tree.assert_none(found)


def test_the_test_would_find_one() -> None:
    for name in ("PoolManager", "string_utils", "handle_request", "process_frame", "data", "JobQueue", "worker_pid"):
        assert _forbidden(name, "wispd/x.py"), name
    for name in ("data_received", "handler", "process_id_of", "information", "container_name_pattern"):
        assert _forbidden(name, "wispd/x.py") == (name in ("process_id_of", "container_name_pattern")), name


def _forbidden(name: str, path: str) -> bool:
    words = set(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()))
    foreign = FOREIGN if "adapters/engine" not in path and not path.startswith("bench/") else set()
    if words & (VAGUE | foreign):
        return True
    if name.lower() in ALONE:
        return not (name == "data" and path.startswith(CLOUDEVENTS + DIRECTORY))
    return name.startswith(PREFIXES)


def _names(path: object) -> Iterator[tuple[str, int]]:
    """Yield what the file defines: functions, classes, parameters, variables and fields (not what it calls)."""
    assert hasattr(path, "stem")
    yield path.stem, 1
    for node in ast.walk(tree.parsed(path)):  # type: ignore[arg-type]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            # asyncio prescribes the parameter of `data_received` and of `buffer_updated`.
            if node.arg != "data":
                yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
