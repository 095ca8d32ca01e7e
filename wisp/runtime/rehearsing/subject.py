"""The function of the rehearsal: small, so that no page is copied that small functions do not need."""

from __future__ import annotations

from typing import Any


def handle(event: Any, context: Any) -> Any:
    """Answer; print when told to."""
    if event.data["kind"] == "print":
        print("rehearsing", context.invocation_id)
    return {"path": event.http.path}
