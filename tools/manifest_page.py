"""Make docs/reference/manifest.md: every key of wisp.toml; defaults and limits are asked of the code that checks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from wispd.base.errors import Fault
from wispd.cli import manifest
from wispd.control.declaration import declare

HEAD: Final = """# wisp.toml

<!-- Made from wispd/cli/manifest.py and wispd/control/declaration.py by tools/reference.py; edits here are lost. -->

A project's `wisp.toml` says which functions it has and how they are built. Nothing in it is required: without the
file, or with an empty table, defaults hold. Flags of `wisp deploy` go before it. An unknown key is refused with file,
line and the nearest key that exists. `[app]` is accepted and not read. The same keys, but for `layer` and
`dependencies`, are those of a [declaration](../admin.md#the-declaration) over the API.

```toml
[functions.notes]
handler = "main:app"
memory = "256MB"
secrets = ["SIGNING_KEY"]
instances = { max = 20 }

[build]
run = ["python make_assets.py"]
```

Sizes are bytes, or text such as `"256MB"` (a MB is 1024² bytes); durations are seconds, or text such as `"30s"`,
`"500ms"`, `"5m"`. "Refused" shows what the check answers to a value that is wrong.
"""
CODE: Final = "0" * 64
# key → what it is, what its default is where no field says so, a wrong value (its refusal names the limit)
FUNCTION: Final[dict[str, tuple[str, str, Any]]] = {
    "handler": ("`module:name` of what is called", "found by inspection", "a b"),
    "dialect": ("how the handler wants to be called", "found by inspection", "cobol"),
    "runtime": ("the Python it runs on; `python3` is the node's own", "`python3`", "ruby"),
    "env": ("variables of the environment: a table of texts", "none", {"A B": ""}),
    "secrets": ('names of secrets, or `{ name = "TLS_KEY", file = "tls.key" }`', "none", 1),
    "memory": ('memory of an instance; `"auto"` begins small and doubles after `memory_exhausted`', '`"auto"`', 1),
    "cpu": ("CPUs of an instance", "`1`", 1000),
    "timeout": ("how long a call may take", "`30s`", 1e6),
    "concurrency": ("calls that one instance carries at once", "`1`; 64 for ASGI and WSGI", 0),
    "concurrency_reserved": ("calls of the namespace's limit kept for this function; -1: none", "`-1`", -2),
    "instances.min": ("instances kept when nobody calls", "`0`", -1),
    "instances.max": ("instances at most", "`1000`", 0),
    "instances.idle": ("how long an idle instance stays", "`60s`", 1e6),
    "access": ("who may call over HTTP", "public on this machine, else by token", "friends"),
    "async": ("may be called without waiting for the answer", "`false`", 1),
    "network.mode": ('what instances reach; `network = "none"` is short for it', "`egress`", "lan"),
    "network.allow": ("private addresses that are opened", "none", ["example.org:443"]),
    "routes": ("further addresses: `[host, method, path]` each; empty parts mean every", "none", ["/"]),
    "description": ("what the function is for", "none", "x" * 2000),
    "labels": ("a table of texts of your own", "none", {"": ""}),
    "versions_kept": ("versions kept besides those an alias points at; 0: the node's setting", "`0`", -1),
}
LOCAL: Final = {
    "layer": ("a folder of installed dependencies, relative to the project", "none"),
    "dependencies": (
        "the file that names the dependencies, or `false` for none",
        "found: see [builds](../builds.md)",
    ),
}
BUILD: Final = {
    "run": ("commands that run over a copy of the code, without a shell; texts, or lists of words", "none"),
    "dependencies": ("as in a function's table, for all functions", "found: see [builds](../builds.md)"),
}


def manifest_page() -> str:
    """Return the page. Raises: ValueError when a key is described that does not exist, or one is not described."""
    tops = {key.split(".")[0] for key in FUNCTION} | set(LOCAL)
    if tops != set(manifest.KEYS):
        raise ValueError(f"tools/manifest_page.py and manifest.KEYS differ: {sorted(tops ^ set(manifest.KEYS))}")
    if set(BUILD) != set(manifest.BUILD_KEYS):
        raise ValueError(
            f"tools/manifest_page.py and BUILD_KEYS differ: {sorted(set(BUILD) ^ set(manifest.BUILD_KEYS))}"
        )
    return (
        "\n".join([HEAD, *_functions(), *_local("[functions.NAME], read where `wisp deploy` runs", LOCAL), *_build()])
        + "\n"
    )


def _functions() -> Iterator[str]:
    yield "## `[functions.NAME]`\n\n| key | what it is | default | refused |\n|---|---|---|---|"
    for key, (text, default, wrong) in FUNCTION.items():
        _check_default(key, default)
        yield f"| `{key}` | {_cell(text)} | {_cell(default)} | {_cell(refusal(key, wrong))} |"


def _build() -> Iterator[str]:
    yield from _local("[build]", BUILD)
    later = ", ".join(f"`{key}`" for key in manifest.LATER)
    yield f"\nKeys that this version does not offer, and refuses by name: {later}."


def _local(title: str, rows: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    section, _, rest = title.partition(",")
    yield f"\n## `{section}`{',' if rest else ''}{rest}\n\n| key | what it is | default |\n|---|---|---|"
    for key, (text, default) in rows.items():
        yield f"| `{key}` | {_cell(text)} | {_cell(default)} |"


def refusal(key: str, wrong: Any) -> str:
    """Return what the check says of a wrong value. Raises: ValueError when it takes it."""
    try:
        declare(_document(key, wrong), namespace="default", name="example")
    except Fault as fault:
        return fault.message if len(fault.message) < 200 else fault.message[:200] + " …"
    raise ValueError(f"{key} = {wrong!r} is not refused")


def _check_default(key: str, default: str) -> None:
    """Refuse a written default that is not the code's: declaring it must change nothing."""
    if not default.startswith("`"):
        return
    written = default.split("`")[1]
    value = json.loads(written) if written[0] in '-"0123456789' and written[-1] not in "s" else written
    value = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
    given = declare(_document(key, value), namespace="default", name="example")
    absent = declare({"code": CODE}, namespace="default", name="example")
    if msgspec.structs.replace(given, concurrency_given=False) != absent:
        raise ValueError(f"the default of {key} is not {default}")


def _document(key: str, value: Any) -> dict[str, Any]:
    top, _, below = key.partition(".")
    return {"code": CODE, top: {below: value} if below else value}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
