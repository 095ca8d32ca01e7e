"""A build, run inside a sandbox like any function: steps one after another, then what they made, as one stream.

What the steps are is decided outside (wispd/control/buildplan.py) and comes as JSON in the environment; nothing here
is trusted by whoever reads the stream, since the steps may be foreign code under the same user id.
"""

from __future__ import annotations

import sys
from typing import Final

# The loader has put the tree with the build's input first. Nothing in it is for us to import.
APP: Final = sys.path.pop(0)

from wisp.runtime.building.steps import build  # noqa: E402

__all__ = ["APP", "build"]
