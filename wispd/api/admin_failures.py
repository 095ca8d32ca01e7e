"""What the log says of an error that nobody foresaw: where it was raised, and nothing that a caller has sent.

The text of an exception may quote a body, a token or a secret, so only its type is told; lines of source are ours.
"""

from __future__ import annotations

import traceback
from typing import Final

FRAMES_MAX: Final = 12  # of one exception, the innermost ones
CAUSES_MAX: Final = 4


def described(error: BaseException, operation: str) -> str:
    """Return the lines for the log. `operation` is the method and the pattern of the route."""
    lines = [f"internal: {operation} failed with {_name(error)}"]
    current: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if current is None:
            break
        if current is not error:
            lines.append(f"  caused by {_name(current)}")
        frames = traceback.extract_tb(current.__traceback__)[-FRAMES_MAX:]
        lines += [f"    {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
        current = current.__cause__ or current.__context__
    return "\n".join(lines)


def _name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"
