"""What a failed build means for the person who deployed: what happened, and what to do. Pure."""

from __future__ import annotations

import re
from typing import Final

from wispd.base.errors import Fault
from wispd.control.buildstream import Failed
from wispd.model.build import Index

TAIL_LINES: Final = 12
_UNREACHED: Final = re.compile(
    r"error sending request for url \(\w+://([^/)\s]+)|[Ff]ailed to fetch:? `?\w+://([^/`\s]+)|"
    r"Could not (?:connect|resolve)[^\n]*?//([^/\s]+)"
)
_CAUSE: Final = re.compile(r"cause: (.+(?:\n {9}.+)*)")
_COMPILER: Final = re.compile(
    r"(?:command '?|unable to execute '?|No such file or directory: '|error: can't find |error: linker `)"
    r"(gcc|cc|g\+\+|c\+\+|clang|x86_64-linux-gnu-gcc|aarch64-linux-gnu-gcc|rustc|cargo|gfortran)\b|"
    r"(?:C compiler|Rust compiler|rustc|cargo)[^\n]{0,40} (?:not found|cannot|is required)",
    re.IGNORECASE,
)
_NO_WHEEL: Final = re.compile(
    r"no wheels? with a matching|no usable wheels|no wheels are available|"
    r"doesn't have a source distribution or wheel|no source distribution or wheel"
)


def explain(failed: Failed, output: str, index: Index) -> Fault:
    """Return what to tell about a stage that failed. `output`: the last of what its steps wrote."""
    reason, message = _told(failed, output, index)
    step = f"{failed.label}: " if failed.label else ""
    return Fault("build_failed", step + message, reason=reason, output=tail(output))


def lost(limit_bytes: int) -> Fault:
    """Return what to tell when a sandbox ended without a word."""
    return Fault(
        "build_failed",
        f"the build's sandbox ended before it was done; most likely it needed more memory than "
        f"{limit_bytes >> 20} MB ([build] memory_bytes and disk_bytes of the node); if a process of the node ended "
        "at that time, which `wisp status` shows, deploy again",
        reason="lost",
    )


def needs_source(output: str) -> bool:
    """Did a resolution fail only because nothing may be built from source in it?"""
    return "building from source is disabled" in output or "--no-build" in output or "is disabled" in output


def tail(output: str) -> str:
    """Return the last lines of what was written."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    return "\n".join(lines[-TAIL_LINES:])


def _told(failed: Failed, output: str, index: Index) -> tuple[str, str]:
    if failed.reason == "timeout":
        return "timeout", f"it took longer than {index.timeout_s:g} s ([build] timeout_s of the node)"
    if failed.reason == "disk" or "No space left on device" in output:
        limit = f"{index.disk_bytes >> 20} MB"
        return "disk", f"it wrote more than the {limit} a build may ([build] disk_bytes of the node)"
    if failed.reason == "program":
        return "program", f"{failed.detail}; a build finds Python and what it installs, and no other programs"
    if failed.reason == "tree":
        return "tree", f"what it made is refused: {failed.detail}"
    if failed.reason == "internal":
        return "internal", f"the build's own part failed: {failed.detail}"
    return _of_installer(failed, output)


def _of_installer(failed: Failed, output: str) -> tuple[str, str]:
    unreached = _UNREACHED.search(output)
    if unreached:
        host = next(group for group in unreached.groups() if group).rpartition("@")[2]
        return "offline", (
            f"{host} can't be reached from a build; check the network, set [build] index_url to an index that can be "
            "reached, or put the files into a folder named in [build] find_links"
        )
    if "the network was disabled" in output:
        return "offline", (
            "this node is offline ([build] offline) and find_links does not hold all that is needed: "
            + _cause(output)
        )
    if "Git executable not found" in output:
        return (
            "program",
            "it comes from version control, which builds do not clone; name an archive by https address",
        )
    if "directory: '/bin/sh'" in output:
        return "compiler", (
            "it needs a shell or a compiler, which builds do not have: choose a version that has a wheel for this "
            "Python, or build the wheel elsewhere and offer it in [build] find_links"
        )
    if compiler := _COMPILER.search(output):
        name = compiler.group(1) or "a compiler"
        return "compiler", (
            f"it needs {name}, which builds do not have: choose a version that has a wheel for this Python, "
            "or build the wheel elsewhere and offer it in [build] find_links"
        )
    if _NO_WHEEL.search(output):
        return "no_wheel", (
            f"there is no wheel for this Python: {_cause(output)}. Choose another version, or another --runtime"
        )
    if "No solution found" in output:
        return "no_version", f"there is no version that fits: {_cause(output)}"
    return "exit", _cause(output) or failed.detail


def _cause(output: str) -> str:
    """Return the installer's own reasons, on one line; "" when it gave none."""
    found = [" ".join(cause.split()) for cause in _CAUSE.findall(output)]
    hints = re.findall(r"^hint: (.+)", output, re.MULTILINE)
    if not found:
        errors = re.findall(r"^(?:error|ERROR|\w*Error): ?(.+)", output, re.MULTILINE)
        found = errors[-1:] or tail(output).splitlines()[-1:]
    return " ".join([*found[:2], *hints[:1]])[:1000]
