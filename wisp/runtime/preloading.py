"""What a zygote imports before it forks: all that the runtime or a typical function would import on a cold call.

Also everything the runtime itself loads late: user code may bring a `copy.py` of its own, and ours comes first.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

OURS: Final = (
    "wisp.app",
    "wisp.calls",
    "wisp.errors",
    "wisp.event",
    "wisp.parameters",
    "wisp.response",
    "wisp.runtime.apps.openapi",
    "wisp.runtime.apps.page",
    "wisp.runtime.calling",
    "wisp.runtime.dialects.apps",
    "wisp.runtime.dialects.awaiting",
    "wisp.runtime.dialects.lambdas",
    "wisp.runtime.dialects.native",
    "wisp.runtime.dialects.results",
    "wisp.runtime.dialects.wsgi",
    "wisp.runtime.async_loop",
    "wisp.runtime.jsonforms",
    "wisp.runtime.serving",
    "wisp.runtime.sync_loop",
    "wisp.runtime.thread_loop",
)
STANDARD: Final = (
    "asyncio",
    "base64",
    "collections.abc",
    "concurrent.futures",
    "contextlib",
    "contextvars",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "email.message",
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "importlib.util",
    "inspect",
    "io",
    "itertools",
    "json",
    "linecache",
    "logging",
    "math",
    "pathlib",
    "random",
    "re",
    "secrets",
    "socket",
    "ssl",
    "string",
    "tempfile",
    "textwrap",
    "threading",
    "time",
    "tokenize",
    "traceback",
    "typing",
    "urllib.parse",
    "uuid",
    "warnings",
    "weakref",
    "zoneinfo",
    # Loaded late by the ones above, and needed inside a sandbox that can't be looked around in.
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_8",
    "difflib",
)


done = False


def preload() -> None:
    """Import everything; what this Python was built without is left out."""
    global done  # noqa: PLW0603
    # Freeing one large block tells the C library to keep blocks of the size of a packet, not to map each anew.
    bytes(1 << 20)
    for name in STANDARD:
        try:
            import_module(name)
        except ImportError:  # no ssl, no zoneinfo: functions may live without
            continue
    for name in OURS:
        import_module(name)
    import_module("wisp.runtime.streams").inherit_contexts()
    done = True
