"""Exit codes, and how a failure is said.

0 it worked · 1 the function failed · 2 wrong use · 3 not found · 4 refused or over a limit · 5 no node reached ·
6 the platform failed. `wisp doctor` has its own (0 and 1).
"""

from __future__ import annotations

import sys
from typing import Final

import click

from wispd.base.errors import Fault
from wispd.cli.output import note, print_json

OK: Final = 0
FUNCTION_FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
REFUSED: Final = 4
UNREACHABLE: Final = 5
PLATFORM: Final = 6
INTERRUPTED: Final = 130
EXIT_CODES: Final = {
    OK: "it worked",
    FUNCTION_FAILED: "the function failed; `wisp doctor`: functions can't be isolated here",
    USAGE: "wrong use",
    NOT_FOUND: "not found",
    REFUSED: "refused, or over a limit",
    UNREACHABLE: "no node reached",
    PLATFORM: "the platform failed",
    INTERRUPTED: "interrupted by Ctrl-C",
}
_CODES: Final = {
    "invalid_argument": USAGE,
    "not_found": NOT_FOUND,
    "unavailable": UNREACHABLE,
    "internal": PLATFORM,
    "storage_full": PLATFORM,
    "timeout": FUNCTION_FAILED,
    "function_error": FUNCTION_FAILED,
    "init_failed": FUNCTION_FAILED,
    "build_failed": FUNCTION_FAILED,
    "memory_exhausted": FUNCTION_FAILED,
    "instance_lost": FUNCTION_FAILED,
    "invalid_answer": FUNCTION_FAILED,
    "answer_too_large": FUNCTION_FAILED,
}

# What the node says of a missing token is for those who write requests; whoever types commands sets a variable.
_NEXT: Final = {
    "unauthenticated": "the token is missing, unknown, revoked or expired; put a valid one into WISP_TOKEN"
}


def exit_code(fault: Fault) -> int:
    """Return the exit code of a fault."""
    return _CODES.get(fault.code, REFUSED)


def report(fault: Fault, *, as_json: bool) -> int:
    """Say what went wrong; return the exit code."""
    note(f"wisp: {_NEXT.get(fault.code, fault.message)}")
    trace = fault.facts.get("traceback")
    if isinstance(trace, str) and trace and not as_json:
        note(trace.rstrip())
    output = fault.facts.get("output")
    if isinstance(output, str) and output and not as_json:
        note("\n".join(f"  | {line}" for line in output.splitlines()))
    if fault.facts.get("build") and not as_json:
        note(f"  the whole output: wisp build show {fault.facts['build']}")
    if as_json:
        facts = {key: value for key, value in fault.facts.items() if value is not None}
        print_json({"error": facts | {"code": fault.code, "message": fault.message, "retryable": fault.retryable}})
    return exit_code(fault)


def report_usage(error: click.ClickException, *, as_json: bool) -> int:
    """Say what was wrong with the command line; return the exit code."""
    if as_json:
        note(f"wisp: {error.format_message()}")
        print_json({"error": {"code": "usage", "message": error.format_message()}})
    else:
        error.show(sys.stderr)
    return USAGE
